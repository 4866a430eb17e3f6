# A link is removed after a sync and the file is synced by the other name.
open foo O_RDWR|O_CREAT 0777
link foo bar
sync
remove bar
fsync foo
