"""The edit policy: rewards of candidates, a bandit over arms, the note-writer's own adapter, ReST-EM rounds.

Floor 4: nothing below imports it; who needs an arm chooser below gets one handed in (`learning.candidates.ArmSource`).
Not here: training and grading themselves (`learning`), when a round runs (the worker).
"""
