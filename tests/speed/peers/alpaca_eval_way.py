"""AlpacaEval's own figures of one model, by its own functions, its data files read from a folder.

``alpaca_eval_way.py ANNOTATIONS FOLDER C`` prints JSON. C is pinned, so upstream fits once, too.
"""

import gzip
import json
import sys
from pathlib import Path

import pandas as pd
from alpaca_eval.metrics import glm_winrate

FILES = {
    "df_gamed.csv": "df_gamed_surrogate.csv",
    "instruction_difficulty.csv": "instruction_difficulty_recovered.csv",
}
"""What upstream fetches, and what has the same content here."""


def main(annotations: str, folder: str, c: str) -> None:
    """Read, fit, print."""

    def local(repo_id: str, filename: str, **_: object) -> str:
        return str(Path(folder, FILES[filename]))

    glm_winrate.hf_hub_download = local
    data = Path(annotations).read_bytes()
    rows = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    frame = pd.DataFrame(rows)
    pinned = dict(glm_winrate.GLM_INFO["length_controlled_v1"])
    pinned["kwargs"] = {"n_splits": 0, "C": float(c)}
    found = glm_winrate.get_length_controlled_winrate(frame, save_weights_dir=None, glm_info=pinned)
    print(json.dumps({name: float(value) for name, value in found.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
