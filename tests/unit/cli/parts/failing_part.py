"""Stands for a service that cannot start."""

import sys

sys.exit("the port of the flux capacitor is taken")
