wrk.method="POST"; wrk.body="{\"command\":[\"/bin/true\"]}"
