"""What a person sees at the end of a build."""

from pathlib import Path

from ultra import card, command, release


def print_summary(path: Path) -> None:
    """Print what was kept and dropped for which reason, how to load it, and the path, last."""
    manifest = release.read_manifest(path)
    config = card.default_config(manifest)
    steps = manifest["steps"]
    dropped = sum(sum(step["dropped"].values()) for step in steps)
    splits = manifest["splits"][config]
    kept = sum(split["rows"] for split in splits.values())
    print(f"\n{manifest['corpus']} {manifest['version']}: ", end="")
    print(f"{kept:,} kept, {dropped:,} dropped, of {steps[0]['in']:,} conversations")
    if manifest.get("demo"):
        print("  demo: made by the offline demo model, not by a real one")
    drops = {
        (f"dropped: {reason}", step["step"]): count
        for step in steps
        for reason, count in step["dropped"].items()
    }
    width = max([30, *(len(label) for label, _ in drops)])
    for name, split in splits.items():
        print(f"  {name:<{width}}{split['rows']:>9,}")
    for (label, step), count in drops.items():
        print(f"  {label:<{width}}{count:>9,}  ({step})")
    for name in manifest["input"].get("ignored", []):
        print(f"  ignored, it does not begin with conversations: {command.printable(name)}")
    print("load it with")
    print(f"  {release.load_line(path, config, next(iter(splits)))}")
    print(path)
