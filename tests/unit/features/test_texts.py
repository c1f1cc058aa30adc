from app.catalogue.item import Item, User
from app.features.texts import item_text, scenario_text, user_text
from app.scenarios.scenario import Scenario


def test_item_text_names_what_is_there() -> None:
    item = Item("1", title="Blue mug", category=("Home", "Kitchen"), brand="Nordhem", price=4.5, tags=("mug",))
    assert item_text(item) == "Blue mug. Home > Kitchen. by Nordhem. very cheap. mug"


def test_missing_values_leave_no_debris() -> None:
    assert item_text(Item("1")) == ""
    assert user_text(User("1")) == ""
    assert item_text(Item("1", description="Only words")) == "Only words"
    for word in ("None", "nan", ": .", ". ."):
        assert word not in item_text(Item("1", title="A", attributes={"colour": None, "size": "L"}))


def test_codes_and_links_are_not_read_aloud() -> None:
    text = item_text(
        Item("1", title="A", attributes={"maker_id": 7, "page": "http://shop/1", "is_new": True, "size": "L"})
    )
    assert text == "A. size: L"


def test_user_and_scenario_texts() -> None:
    assert user_text(User("1", text="I fish", age=30)) == "A shopper: I fish. aged 30"
    assert scenario_text(Scenario("new_arrivals", "What came in lately")) == "new arrivals: What came in lately"
    assert scenario_text(Scenario("home", "")) == "home"


def test_a_long_description_is_cut() -> None:
    assert len(item_text(Item("1", description="word " * 10_000))) <= 1_200
