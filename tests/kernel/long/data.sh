# The data path for ten minutes.
SEEDS=8 OPERATIONS=20000 CRASHES=30
. ./data.sh
