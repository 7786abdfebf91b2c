"""The native runner: a program's operations in C++, on the processor's own matrix instructions."""
