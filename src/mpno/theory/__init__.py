"""What a grid and a number format cost one coefficient of one layer: errors, bounds, worst cases.

The statements and proofs are in docs/theory.md; the modules here compute their sides. Import from the modules.
"""
