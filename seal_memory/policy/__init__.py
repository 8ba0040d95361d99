"""The edit policy: rewards of candidates, a bandit over arms, the note-writer's own adapter, ReST-EM rounds.

Nothing below imports it: `learning` gets its arms handed in (`learning.candidates.ChooseArms`).
Not here: training and grading (`learning`), when a round runs (`training.worker`).
"""
