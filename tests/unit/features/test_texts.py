import hashlib

from app.catalogue.item import Item, User
from app.features.texts import PROMPT_VERSION, item_text, scenario_text, user_text
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
    assert text == "A. new. size: L"


def test_user_and_scenario_texts() -> None:
    assert user_text(User("1", text="I fish", age=30)) == "A shopper: aged 30. I fish"
    assert scenario_text(Scenario("new_arrivals", "What came in lately")) == "new arrivals: What came in lately"
    assert scenario_text(Scenario("home", "")) == "home"


def test_codes_are_known_by_their_names_not_by_their_last_letters() -> None:
    attributes = {"zip_code": "55067", "sku": "A-1", "product id": 7, "hybrid": "full", "ean": 4, "ocean": "Pacific"}
    assert item_text(Item("1", attributes=attributes)) == "hybrid: full. ocean: Pacific"


def test_what_was_said_is_not_said_again_and_prose_comes_last() -> None:
    item = Item("1", title="Eggs", category=("Grocery", "Eggs"), tags=("Eggs", "fresh"), description="From hens.",
                attributes={"department": "GROCERY", "story": "A long word about hens. " * 5, "pack": "6"})  # fmt: skip
    assert item_text(item).startswith("Eggs. Grocery > Eggs. fresh. pack: 6. From hens. story: A long word")


def test_lists_end_with_a_whole_entry() -> None:
    item = Item("1", tags=tuple(f"word{n}" for n in range(12)), attributes={f"name{n}": f"value{n}" for n in range(12)})
    said = item_text(item).replace(". ", ", ").split(", ")
    assert said[:2] == ["word0", "word1"]
    assert all(entry in {*item.tags, *(f"name{n}: value{n}" for n in range(12))} for entry in said)
    assert len(said) < 24


def test_a_price_band_means_about_the_same_in_every_currency() -> None:
    bands = [
        item_text(Item("1", price=price, currency=currency))
        for price, currency in [
            (0.0, "EUR"),
            (2.5, "EUR"),
            (25.0, None),
            (3_000.0, "JPY"),
            (3_000.0, "USD"),
            (-1.0, None),
        ]
    ]
    assert bands == ["free", "very cheap", "mid-priced", "mid-priced", "luxury", ""]


def test_an_age_that_nobody_has_is_left_out() -> None:
    assert [user_text(User("1", age=age)) for age in (-1, 0, 119, 1999)] == ["", "", "A shopper: aged 119", ""]


def test_the_version_moves_with_what_the_prompts_say() -> None:
    """Vectors of other prompts are not comparable: after a change of texts raise PROMPT_VERSION and write the new digest here."""
    said = [
        item_text(Item("1", title="Mug", category=("A", "B"), brand="X", price=3.0, tags=("t", "u"), description="D.",
                       attributes={"size": 4.0, "ok": True, "story": "long " * 20})),
        user_text(User("1", text="I fish", age=30, gender="m", occupation="cook", country="FR", tags=("t",),
                       attributes={"size": 4.0, "story": "long " * 20}), ["Mug", "Cup"]),
        scenario_text(Scenario("new_arrivals", "What came in lately.")),
    ]  # fmt: skip
    assert (PROMPT_VERSION, hashlib.sha256("\n".join(said).encode()).hexdigest()[:12]) == ("2", "a57ac2d7573e")


def test_a_long_description_is_cut() -> None:
    assert len(item_text(Item("1", description="word " * 10_000))) <= 1_200
