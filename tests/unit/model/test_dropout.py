import pytest
import torch

from app.model.dropout import Dropout


def test_as_much_is_left_out_as_was_asked_for_and_the_mean_stays() -> None:
    torch.manual_seed(0)
    ones = torch.ones(400, 501)
    out = Dropout(0.2).train()(ones)
    left_out, kept = out.unique().tolist()
    assert (left_out, kept) == (0.0, pytest.approx(256 / 205))
    assert float((out == 0).float().mean()) == pytest.approx(51 / 256, abs=0.005)
    assert float(out.mean()) == pytest.approx(1.0, abs=0.01)
    left_out_in_each = (out == 0).float().mean(0)  # no column is left out more often than another
    assert float(left_out_in_each.std()) == pytest.approx((0.2 * 0.8 / 400) ** 0.5, rel=0.2)


def test_the_gradient_goes_where_the_number_went() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 8, requires_grad=True)
    out = Dropout(0.5).train()(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad == 0, out == 0)
    assert torch.equal(x.grad[out != 0], torch.full_like(x.grad[out != 0], 2.0))


def test_chance_is_that_of_torch_and_there_is_none_outside_training() -> None:
    x, dropout = torch.randn(7, 3), Dropout(0.3).train()
    torch.manual_seed(5)
    first = dropout(x)
    second = dropout(x)
    torch.manual_seed(5)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)
    assert dropout.eval()(x) is x
    assert Dropout(0.0).train()(x) is x
    assert dropout.train()(torch.empty(0, 3)).shape == (0, 3)
