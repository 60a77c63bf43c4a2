"""REBOUND: a particle is changed after others were added, which moves the array that it is in."""

import sys

import rebound

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10

for _ in range(ROUNDS):
    simulation = rebound.Simulation()
    simulation.add(m=1.0)
    star = simulation.particles[0]
    for distance in range(200):
        simulation.add(m=0.0, a=2.0 + distance)
    star.m = 2.0
print(simulation.particles[0].m)
