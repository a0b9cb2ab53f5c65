"""The domain library; works without Dagster."""

import models as models  # before torch: sets how its threads wait
