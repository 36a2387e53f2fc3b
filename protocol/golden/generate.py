"""Writes the golden frames: what every client and the hub must read, and what they must write.

    python generate.py           writes frames/ and index.json
    python generate.py --check   fails if they differ from what it would write

It needs `msgpack` from PyPI and shares no code with the Rust crates, so that neither can be wrong alone.
The cases stand in `good.py`, `requests.py`, `variants.py` and `bad.py`, what the index says in `README.md`.
"""

import json
import pathlib
import sys

import bad
import good
import variants

HERE = pathlib.Path(__file__).parent


def files():
    """The bytes of each file, by its path from here."""
    made, index = {}, {"good": [], "bad": []}
    for kind, cases in (("good", [*good.cases(), *variants.cases()]), ("bad", bad.cases())):
        for case in cases:
            encodings = {"json": case.pop("json", None), "msgpack": case.pop("msgpack", None)}
            for encoding, content in encodings.items():
                if content is not None:
                    path = f"frames/{case['name']}.{encoding}"
                    if path in made:
                        sys.exit(f"two cases are called {case['name']}")
                    made[path] = content
            case["encodings"] = [name for name, content in encodings.items() if content is not None]
            index[kind].append(case)
    lines = [
        '{"%s": [\n%s\n]' % (kind, ",\n".join("  " + json.dumps(case) for case in cases))
        for kind, cases in index.items()
    ]
    made["index.json"] = (lines[0] + ",\n" + lines[1].removeprefix("{") + "}\n").encode()
    return made


def present():
    """The paths of the files that are there."""
    frames = HERE.glob("frames/*")
    return {str(path.relative_to(HERE)) for path in frames} | {"index.json"}


def main():
    made = files()
    stray = present() - made.keys()
    if "--check" in sys.argv[1:]:
        wrong = [
            path
            for path, content in made.items()
            if not (HERE / path).is_file() or (HERE / path).read_bytes() != content
        ]
        if wrong or stray:
            sys.exit("differ from what generate.py makes: " + ", ".join(sorted({*wrong, *stray})))
        print(f"{len(made)} golden files are what generate.py makes")
        return
    (HERE / "frames").mkdir(exist_ok=True)
    for path in stray:
        (HERE / path).unlink(missing_ok=True)
    for path, content in made.items():
        (HERE / path).write_bytes(content)
    print(f"wrote {len(made)} files")


if __name__ == "__main__":
    main()
