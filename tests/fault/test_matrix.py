"""The matrix covers what it says, and its oracle can fail."""

from tests.fault import matrix
from tests.fault.boundary import Boundary, Moment, parsed, template


def test_the_turns_of_six_days_cover_every_cell() -> None:
    turns = [cell for day in range(6) for cell in matrix.cells(matrix.SEED + day, whole=False)]
    assert sorted(turns, key=str) == sorted(matrix.all_cells(), key=str)


def test_a_boundary_is_read_back_from_its_name() -> None:
    for boundary in (Boundary(Moment.AFTER, "verify.look", 3), Boundary(Moment.DURING, "until the next look")):
        assert parsed(boundary.point) == boundary


def test_a_template_leaves_out_what_differs_between_two_incidents() -> None:
    one, other = (
        template("GET", f"/repos/acme/{name}/compare/{sha * 40}...{'c' * 40}", ["per_page"])
        for name, sha in (("a-1", "a"), ("b", "b"))
    )
    assert one == other == "GET /repos/{}/compare/{}?per_page"
    assert template("GET", "/repos/acme/a/actions/runs/9001", []) == "GET /repos/{}/actions/runs/{}"
    assert template("POST", "/deployment/100/activate", []) == "POST /deployment/{}/activate"


def test_every_timer_of_the_matrix_can_be_lengthened() -> None:
    timers = {each.what for each in matrix.boundaries() if each.moment is Moment.DURING}
    assert timers == set(matrix.LENGTHENED)
