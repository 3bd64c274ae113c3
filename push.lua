wrk.method="POST"; wrk.body='{"script":"nop"}'
