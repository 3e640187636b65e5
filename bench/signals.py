import fcntl, mmap, os, random, struct, sys, time

manner, count, paths = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
notifies = manner == "notifies"
files = [os.open(path, os.O_RDWR) for path in paths]
maps = [mmap.mmap(file, 0) for file in files]
if notifies:
    for file in files:
        fcntl.flock(file, fcntl.LOCK_SH)
file, shm = files[-1], maps[-1]
sys.stdin.read()
random.seed(1)
for i in range(count):
    time.sleep(random.uniform(0.005, 0.025))
    raised = time.monotonic_ns()
    # In the order of the prototype: the flag first.
    shm[0] = 1
    shm[1] = 1 + i % 4
    struct.pack_into("<Q", shm, 2, raised // 1_000_000)
    shm[10] = 5
    shm[11:16] = b"bench"
    if notifies:
        os.utime(file)
    while shm[0]:
        pass
    print((time.monotonic_ns() - raised) / 1e6)
