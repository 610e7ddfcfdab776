"""Order, waiting, and branching on enums; nothing else. Judgement is made in activities, where it is recorded."""
