import pytest

from service.serve import main, overrides_of, parse_args
from service.settings import SettingsError, load_settings


def test_a_file_then_the_environment_then_the_command_line(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("deployment: {port: 1, max_samples: 2}\nsystem: {data: /x}\nmodels: {bundles: [a, b]}\n")
    settings = load_settings(
        file, ["deployment.max_wait_s=2.5"], {"CEREBEAM_DEPLOYMENT_PORT": "3", "CEREBEAM_SYSTEM_LOG_LEVEL": "ERROR"}
    )
    deployment = settings.deployment
    assert (deployment.port, deployment.max_samples, deployment.max_wait_s) == (3, 2, 2.5)
    assert settings.system.log_level == "ERROR"
    assert settings.database_url == "sqlite:////x/records.db"
    assert [str(path) for path in settings.models.bundles] == ["a", "b"]
    assert load_settings(file, ["deployment.port=4"], {"CEREBEAM_DEPLOYMENT_PORT": "3"}).deployment.port == 4


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("deployment: {prot: 1}", [], "deployment.prot: Extra inputs"),
        ("cellar: {}", [], "cellar: Extra inputs"),
        ("deployment: {port: eighty}", [], "deployment.port: "),
        ("deployment: {port: 70000}", [], "deployment.port: "),
        ("deployment: 7", [], "deployment"),
        ("deployment: [", [], "cannot be read as YAML"),
        ("- a", [], "holds no sections"),
        ("", ["port=1"], "'port=1' is not section.key=value"),
        ("", ["deployment.host=0.0.0.0"], "without tokens"),
        ("", ["deployment.profile=production"], "needs deployment.jwks"),
        ("", ["system.data.deep=1"], "data.deep"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path, text, overrides, message):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=message) as error:
        load_settings(file, overrides, {})
    assert "\n" not in str(error.value)


def test_the_command_lines_own_options_are_overrides(tmp_path):
    args = parse_args([str(tmp_path / "b"), "--port", "81", "--set", "deployment.port=82", "--data", "d"])
    settings = load_settings(None, overrides_of(args), {})
    assert settings.deployment.port == 82
    assert settings.models.bundles == (tmp_path / "b",)
    assert str(settings.system.data) == "d"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no bundle: give a folder"),
        (["nowhere"], "is no bundle"),
        (["nowhere", "--config", "missing.yaml"], "missing.yaml cannot be read"),
        (["nowhere", "--recordings", "missing"], "dataset.recordings=missing is no folder"),
        (["nowhere", "--host", "0.0.0.0"], "the dev profile listens to 127.0.0.1 alone"),
    ],
)
def test_a_start_that_cannot_be_is_one_line(tmp_path, monkeypatch, capsys, kept_logging, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
