"""The edit policy measured: own notes before and after ReST-EM rounds, per genre, and with the bandit only."""
