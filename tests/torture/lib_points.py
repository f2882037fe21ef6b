"""The probes of docs/probes.md, by what must be going on for a broker to come past them."""
import re
import subprocess

from lib_round import BUILD, HERE, SOURCE


def table():
    """Section: names, in the order of the page."""
    sections = {}
    names = []
    for line in (SOURCE / "docs" / "probes.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            names = sections.setdefault(line[3:], [])
        found = re.match(r"\| `([a-z_]+)` \|", line)
        if found:
            names.append(found.group(1))
    return sections


def in_program(path):
    said = subprocess.run(["readelf", "-n", str(path)], stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    return set(re.findall(r"Provider: eventspine\s+Name: ([a-z_]+)", said))


SECTIONS = table()
PRODUCER = SECTIONS["Producer"]
STOP = SECTIONS["Broker: clean stop"]
BACKUP = SECTIONS["Broker: backup"]
# Met only where there is no store or no shared memory yet.
FRESH = [name for name in SECTIONS["Broker: start"] if name.startswith(("creation_", "disk_file_"))]
FRESH += ["log_file_made", "memory_page_made", "attach_ring_made", "page_ring_entry_set"]
START = [name for name in SECTIONS["Broker: start"] if name not in FRESH]
BROKER = [name for section, names in SECTIONS.items() if section.startswith("Broker: ")
          for name in names]
SERVING = [name for name in BROKER if name not in START + STOP + FRESH + BACKUP]


def compare_with_programs():
    """Names that are in the page and in no program, or the other way round."""
    built = in_program(BUILD / "bin" / "esbroker")
    client = in_program(HERE / "torture_herd")
    return sorted((built | client) ^ set(BROKER + PRODUCER) | set(BROKER) - built |
                  set(PRODUCER) - client)
