"""The compile cache and `homotopy doctor`, each in a process of its own: both set switches for good."""

import json
from pathlib import Path

from homotopy.run._cache import cache_folder, enable_cache

PROBE = """
import json, os, sys
from homotopy.run._cache import enable_cache
cache = enable_cache()
import jax, jax.numpy as jnp, logging
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event))
jax.jit(lambda x: jnp.exp(x).sum())(jnp.ones(3)).block_until_ready()
logging.getLogger("jax._src.test").warning("python still speaks")
print(json.dumps({"folder": str(cache.folder), "failed": cache.failed, "reason": cache.reason,
                  "hits": hits.count("/jax/compilation_cache/cache_hits"), "eqx": os.environ.get("EQX_ON_ERROR")}))
"""


HOMELESS = """
from pathlib import Path
def expanduser(self):
    raise RuntimeError("Could not determine home directory.")
Path.expanduser = expanduser
"""


def _probe(launch, code=PROBE, **environment):
    environment = {"EQX_ON_ERROR": "nan", **environment}
    process = launch(code=code, env=environment)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return json.loads(out), err


def test_a_second_process_loads_what_the_first_compiled_and_xla_keeps_quiet(launch, tmp_path):
    cache = str(tmp_path / "cache")
    first, _ = _probe(launch, HOMOTOPY_CACHE=cache)
    assert first["folder"].startswith(cache)
    assert first["hits"] == 0
    second, err = _probe(launch, HOMOTOPY_CACHE=cache)
    assert second["hits"] > 0
    assert "python still speaks" in err
    assert err.count("\n") == 1


def test_an_unwritable_cache_is_off_and_says_why(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("text")
    monkeypatch.setenv("HOMOTOPY_CACHE", str(tmp_path / "file/cache"))
    cache = enable_cache()
    assert (cache.folder, cache.failed) == (None, True)
    assert "set HOMOTOPY_CACHE" in cache.reason
    monkeypatch.setenv("HOMOTOPY_CACHE", "")
    assert not enable_cache().failed


def test_a_user_without_a_home_has_no_cache_and_no_fault(launch, monkeypatch):
    for name in ("HOMOTOPY_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    found, _ = _probe(launch, HOMELESS + PROBE)
    assert (found["folder"], found["failed"]) == ("None", True)
    assert found["reason"] == "Could not determine home directory; set HOMOTOPY_CACHE"


def test_where_the_cache_belongs(monkeypatch):
    assert cache_folder() is None  # HOMOTOPY_CACHE is empty in these tests
    monkeypatch.setenv("HOMOTOPY_CACHE", "/elsewhere")
    assert cache_folder() == Path("/elsewhere")
    monkeypatch.delenv("HOMOTOPY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/homotopy/jax")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("~/.cache/homotopy/jax").expanduser()


def test_doctor_finds_this_installation_sound(launch, tmp_path):
    process = launch("doctor", env={"HOMOTOPY_CACHE": str(tmp_path / "cache"), "EQX_ON_ERROR": "nan"})
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, ""), out
    assert "PROBLEM" not in out
    assert "works: a small solve took" in out
    assert out.endswith("all is right\n")
