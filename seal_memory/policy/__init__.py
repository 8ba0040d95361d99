"""The edit policy: rewards of candidates, a bandit over arms, the note-writer's own adapter, ReST-EM rounds.

Nothing below imports it: `learning` gets an arm chooser handed in (`learning.candidates.ArmSource`).
Not here: training and grading (`learning`), when a round runs (`training.worker`).
"""
