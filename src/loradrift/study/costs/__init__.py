"""What cells will cost of which nothing like it is finished: time and memory.

``work`` counts, ``rates`` multiplies, ``measuring`` takes the rates in a process like a cell's, and
``estimates`` brings them together.
"""
