# A fifo is renamed, and its old name becomes a link to it.
mknod foo S_IFIFO 0644 0
opendir test 0777
fsync test
rename foo bar
link bar foo
fsync test
