from lookless.report.format import number, percent, points


def test_zero_has_no_sign() -> None:
    assert number(-0.0) == "0.00"
    assert number(-0.1, 1) == "-0.1"
    assert percent(-0.0001) == "0.0"


def test_a_difference_has_a_sign_unless_it_is_zero() -> None:
    assert [points(v) for v in (0.215, -0.01, 0.0, -0.0001, None)] == [
        "+21.5", "\N{MINUS SIGN}1.0", "0.0", "0.0", "\N{EN DASH}",
    ]  # fmt: skip
