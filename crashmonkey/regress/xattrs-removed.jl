# A removed attribute stays removed.
open foo O_RDWR|O_CREAT 0777
fsetxattr foo user.one 1
fsetxattr foo user.two 2
sync
removexattr foo user.one
fsync foo
