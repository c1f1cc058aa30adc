from app.serving.slate import SlateRequest


async def test_a_stranger_gets_a_full_slate_from_the_model(serving):
    slate = await serving.recommender.recommend(SlateRequest("home", n=10))
    assert len(slate.items) == 10
    assert slate.model_version == "v1"
    assert (slate.fallbacks, slate.degraded) == ((), ())
