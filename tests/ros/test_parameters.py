"""Parameters are declared in one place; whatever nobody reads or does not fit is an error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from rclpy.node import Node
from rclpy.parameter import Parameter

from salus_vla.config.parameters import parameter, parameter_names
from salus_vla.contract.errors import ConfigError
from salus_vla.ros.adapters.node_parameters import make_node, read_parameters
from salus_vla.ros.nodes.command_gate_node import GateParameters
from salus_vla.ros.nodes.episode_parameters import EpisodeParameters
from salus_vla.ros.nodes.isaac_sim_node import IsaacParameters
from salus_vla.ros.nodes.mujoco_sim_node import SimParameters
from salus_vla.ros.nodes.predictor_parameters import PredictorParameters
from salus_vla.ros.nodes.recorder_parameters import RecorderParameters
from salus_vla.ros.nodes.vla_ensemble_node import EnsembleParameters

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / "config" / "salus.yaml"
LAUNCH = REPOSITORY / "launch" / "salus.launch.xml"
# Executable and default node name -> its parameters.
NODES = {
    "mujoco_sim": SimParameters,
    "isaac_sim": IsaacParameters,
    "command_gate": GateParameters,
    "vla_ensemble": EnsembleParameters,
    "failure_predictor": PredictorParameters,
    "episode": EpisodeParameters,
    "bag_recorder": RecorderParameters,
}
BUILTIN = {"use_sim_time", "params_file"}  # every node reads them
StartRos = Callable[..., None]


@dataclass(frozen=True)
class Sample:
    """One parameter of each type."""

    count: int = parameter(3, "how many", bounds=(1, 10))
    gain: float = parameter(0.5, "how strong [N]", bounds=(0.0, 2.0))
    flag: bool = parameter(False, "whether")
    mode: str = parameter("slow", "how", choices=("slow", "fast"))
    words: tuple[str, ...] = parameter(("a",), "which", name="group.words")


@contextmanager
def node(start_ros: StartRos, *words: str, name: str = "sample") -> Iterator[Node]:
    start_ros(*words)
    made = make_node(name)
    yield made
    made.destroy_node()


def test_what_is_not_set_has_its_default(start_ros: StartRos) -> None:
    with node(start_ros) as made:
        assert read_parameters(made, Sample) == Sample()
        assert made.get_parameter("gain").value == 0.5
        assert list(made.get_parameter("group.words").value) == ["a"]


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ("count:=10", "count", 10),
        ("count:=1", "count", 1),
        ("gain:=1.25", "gain", 1.25),
        ("gain:=2", "gain", 2.0),
        ("flag:=true", "flag", True),
        ("mode:=fast", "mode", "fast"),
        ("group.words:=[one, two]", "words", ("one", "two")),
    ],
)
def test_what_is_set_arrives_with_its_type(start_ros: StartRos, given: str, field: str, value: Any) -> None:
    with node(start_ros, "-p", given) as made:
        got = getattr(read_parameters(made, Sample), field)
        assert got == value
        assert type(got) is type(value)
        shown = made.get_parameter(given.split(":=")[0]).value
        assert (tuple(shown) if isinstance(value, tuple) else shown) == value


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param("speed:=1", ["unknown parameter 'speed'", "count", "group.words"], id="unknown"),
        pytest.param("group.word:=[a]", ["unknown parameter 'group.word'", "known are"], id="unknown in a group"),
        pytest.param("words:=[a]", ["unknown parameter 'words'"], id="name of the field and not of the parameter"),
        pytest.param("count:=2.5", ["'count'", "2.5 (float)", "expected int"], id="float for int"),
        pytest.param("count:=true", ["'count'", "expected int"], id="bool for int"),
        pytest.param("count:='4'", ["'count'", "expected int"], id="text for int"),
        pytest.param("gain:=true", ["'gain'", "expected float"], id="bool for float"),
        pytest.param("gain:=high", ["'gain'", "'high' (str)", "expected float"], id="text for float"),
        pytest.param("flag:=1", ["'flag'", "expected bool"], id="int for bool"),
        pytest.param("mode:=7", ["'mode'", "expected str"], id="int for text"),
        pytest.param("group.words:=[1, 2]", ["'group.words'", "expected a list of strings"], id="list of int"),
        pytest.param("group.words:=a", ["'group.words'", "expected a list of strings"], id="text for list"),
        pytest.param("count:=0", ["'count' is 0", "expected 1 to 10", "how many"], id="too small"),
        pytest.param("count:=11", ["'count' is 11", "expected 1 to 10"], id="too large"),
        pytest.param("gain:=2.01", ["'gain' is 2.01", "expected 0.0 to 2.0", "[N]"], id="float too large"),
        pytest.param("gain:=-1", ["'gain' is -1.0", "expected 0.0 to 2.0"], id="int for float, too small"),
        pytest.param("gain:=.nan", ["'gain' is nan", "expected 0.0 to 2.0"], id="NaN"),
        pytest.param("mode:=medium", ["'mode' is 'medium'", "expected one of slow, fast"], id="choice"),
    ],
)
def test_what_does_not_fit_is_an_error_that_says_where_and_what_was_expected(
    start_ros: StartRos, given: str, words: list[str]
) -> None:
    with node(start_ros, "-p", given, name="picky") as made:
        with pytest.raises(ConfigError) as error:
            read_parameters(made, Sample)
        for part in ["picky: ", *words]:
            assert part in str(error.value)


def test_parameters_cannot_be_changed_later(start_ros: StartRos) -> None:
    with node(start_ros, "-p", "count:=4") as made:
        read_parameters(made, Sample)
        for name in parameter_names(Sample):
            assert made.describe_parameter(name).read_only
        results = made.set_parameters([Parameter("count", value=5)])
        assert not results[0].successful
        assert made.get_parameter("count").value == 4


def test_descriptions_and_ranges_can_be_asked_for(start_ros: StartRos) -> None:
    with node(start_ros) as made:
        read_parameters(made, Sample)
        count, gain = made.describe_parameter("count"), made.describe_parameter("gain")
        assert gain.description == "how strong [N]"
        assert (count.integer_range[0].from_value, count.integer_range[0].to_value) == (1, 10)
        assert (gain.floating_point_range[0].from_value, gain.floating_point_range[0].to_value) == (0.0, 2.0)
        assert made.describe_parameter("mode").additional_constraints == "one of slow, fast"


def test_sim_time_is_not_an_unknown_parameter(start_ros: StartRos) -> None:
    with node(start_ros, "-p", "use_sim_time:=true") as made:
        assert read_parameters(made, Sample) == Sample()
        assert made.get_parameter("use_sim_time").value is True


def test_a_parameter_file_that_is_there_is_accepted(start_ros: StartRos, tmp_path: Path) -> None:
    there = tmp_path / "there.yaml"
    there.write_text("{}")
    with node(start_ros, "-p", f"params_file:={there}") as made:
        assert read_parameters(made, Sample) == Sample()


@pytest.mark.parametrize("name", ["", "absent.yaml"])
def test_a_parameter_file_that_is_not_there_is_refused(start_ros: StartRos, tmp_path: Path, name: str) -> None:
    words = r"parameter 'params_file' is .*, which is no file"
    with node(start_ros, "-p", f"params_file:={tmp_path / name}") as made, pytest.raises(ConfigError, match=words):
        read_parameters(made, Sample)


def test_a_parameter_file_that_is_no_path_is_refused(start_ros: StartRos) -> None:
    with node(start_ros, "-p", "params_file:=7") as made, pytest.raises(ConfigError, match="params_file"):
        read_parameters(made, Sample)


# -- the files of this repository --------------------------------------------------------------------------------------


def sections() -> dict[str, dict[str, Any]]:
    loaded = yaml.safe_load(CONFIG.read_text())
    return {name: section["ros__parameters"] for name, section in loaded.items()}


def test_the_config_file_has_a_section_for_known_nodes_only() -> None:
    assert set(sections()) == set(NODES)


@pytest.mark.parametrize("name", NODES)
def test_each_key_of_the_config_file_is_read_by_its_node(start_ros: StartRos, name: str) -> None:
    section = sections()[name]
    assert section
    assert set(section) <= set(parameter_names(NODES[name]))
    with node(start_ros, "--params-file", str(CONFIG), name=name) as made:
        values = read_parameters(made, NODES[name])
        for key, field in parameter_names(NODES[name]).items():
            got = getattr(values, field.name)
            assert got == section.get(key, field.default), key


@pytest.mark.parametrize("name", NODES)
def test_an_unknown_key_in_a_config_file_is_an_error(start_ros: StartRos, name: str, tmp_path: Path) -> None:
    changed = {name: {"ros__parameters": {**sections()[name], "perturbations": 0.3}}}
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(changed))
    with (
        node(start_ros, "--params-file", str(path), name=name) as made,
        pytest.raises(ConfigError, match=f"{name}: unknown parameter 'perturbations'"),
    ):
        read_parameters(made, NODES[name])


def test_the_launch_file_passes_known_parameters_only() -> None:
    root = ElementTree.parse(LAUNCH).getroot()
    started = {element.get("exec"): element for element in root.iter("node")}
    assert set(started) == set(NODES)
    for name, element in started.items():
        assert element.get("name") == name  # the config file's sections go by this name
        passed = [param.get("name") for param in element.iter("param") if param.get("from") is None]
        assert passed
        assert len(passed) == len(set(passed))
        assert set(passed) <= set(parameter_names(NODES[name])) | BUILTIN, name
        assert not set(passed) & set(sections()[name]), "set in the config file, which would never win"
    assert {element.get("name") for element in root.iter("set_parameter")} <= BUILTIN


@pytest.mark.parametrize("cls", NODES.values())
def test_every_default_fits_its_own_range_and_says_what_it_is(start_ros: StartRos, cls: type[Any]) -> None:
    for name, field in parameter_names(cls).items():
        bounds, choices = field.metadata["bounds"], field.metadata["choices"]
        assert field.metadata["description"], name
        assert bounds is None or bounds[0] <= field.default <= bounds[1], name
        assert choices is None or field.default in choices, name
        assert not isinstance(field.default, float) or bounds, f"{name}: a number without a range takes NaN"
        assert not name.endswith("_s") or "[s]" in field.metadata["description"], name


@pytest.mark.parametrize("name", NODES)
def test_the_file_shows_the_defaults(name: str) -> None:
    """One source of defaults: what stands in the file without a change is what a node has without the file."""
    section = yaml.safe_load(CONFIG.read_text()).get(name, {}).get("ros__parameters", {})
    fields = parameter_names(NODES[name])
    shown = {key: getattr(NODES[name](), fields[key].name) for key in section}
    assert section == shown
