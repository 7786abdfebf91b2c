"""The gateway: one port for everybody; Envoy carries the calls, the controller and the fronts think."""
