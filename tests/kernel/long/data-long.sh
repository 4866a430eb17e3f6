# The data path for ten minutes.
SEEDS=8 OPERATIONS=20000 CRASHES=30 RACE_SECONDS=120
. ./data.sh
