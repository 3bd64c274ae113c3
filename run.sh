fs=/tmp/w/sp; rm -rf $fs; mkdir -p $fs/scripts; printf '#!/bin/true\n' > $fs/scripts/nop; chmod +x $fs/scripts/nop
echo '{"http": {"anonymous": ["read","run"]}}' > $fs/config.json
(PIRN_LOG=warn ${BIN:-/tmp/w/http/target/release/pirn} serve $fs $1 --http 127.0.0.1:18080 2>/tmp/w/s.log & echo $! >s.pid); sleep 0.5
