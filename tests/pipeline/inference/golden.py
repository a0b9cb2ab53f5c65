"""Counts of five groups from which the paper's Table 1 follows, and that table."""

TEST_CLICKS, IMPRESSIONS_A_GROUP = 10_000_000, 5_300_000

# hits and ordered hits of the test clicks; clicks and orders of the impressions
GOLDEN = {
    "g1": (4_499_877, 183_654, 525_089, 14_290),
    "g2": (4_571_347, 186_088, 532_113, 14_903),
    "g3": (4_776_092, 193_543, 552_233, 15_167),
    "g4": (4_932_626, 198_120, 567_671, 15_662),
    "g5": (4_995_393, 199_839, 573_752, 15_260),
}

# slope, how closely the paper prints it, and interval
TABLE_1 = {
    "H1": (0.8985, 5e-5, (0.870, 0.927)),
    "H2": (1.2608, 5e-5, (0.329, 2.193)),
    "H3": (0.7621, 5e-5, (0.557, 0.967)),
    "H4": (-0.204, 5e-4, (-0.372, -0.036)),
}
