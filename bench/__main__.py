"""``make bench``: what the library costs."""

from __future__ import annotations

from bench import estimates, library, limits, server

# What the project aims for on Open WebUI's pins; told beside the figures, never asserted.
CALL_AIM, CHUNK_AIM = 150, 1.2
LIMITS_AIM, LIMITS_WAIT_AIM = 60, 1000


def main() -> None:
    """Measure and print, the stable figures first."""
    print("In the process, by CPU clock (least of the rounds, stand-ins taken off):", flush=True)
    for groups in (0, 2, 5):
        cost = library.per_call(groups)
        print(f"  one call, user in {groups} groups: {cost:6.0f} µs   (aim {CALL_AIM})", flush=True)
    print(f"  one chunk without usage: {library.per_chunk():10.2f} µs   (aim {CHUNK_AIM})")
    print(f"  a request that calls no model: {library.per_other_request():4.2f} µs", flush=True)
    for idle in (0, 50_000):
        cost = library.export(1_000, idle)
        print(f"  one export, 1,000 active and {idle:,} idle series: {cost:.1f} ms", flush=True)
    ours, both = library.per_series()
    print(f"  one active series: {ours:.0f} bytes, with the SDK's {both:.0f}", flush=True)
    first, last = library.memory()
    print(f"  memory after 10,000 calls {first:.0f} MB, after 110,000 {last:.0f} MB", flush=True)
    print("Limits, beside the ledger:", flush=True)
    for line in limits.table():
        print(f"{line}   (aim {LIMITS_AIM}, and {LIMITS_WAIT_AIM:,})", flush=True)
    print("Estimated tokens against those of the tokenizer cl100k_base:", flush=True)
    for line in estimates.table():
        print(line, flush=True)
    if server.SECONDS:
        print("Open WebUI with and without, in turn:", flush=True)
        for line in server.compare():
            print(line, flush=True)


if __name__ == "__main__":
    main()
