"""The app: settings → store → backends → page and HTTP → launch. Wiring only."""

from wan_core import profiles, settings
from wan_core.backends.local import LocalBackend


def main() -> None:
    host = settings.load()
    machine = profiles.detect(host)
    print(machine, profiles.choose(host, machine))


if __name__ == "__main__":
    main()
