//! The life of a connection: pause, hand-over, slow and failing handlers, unmounting.

use super::*;
use bento_user::fuse::{Errno, Handler, Negotiated, Op, PauseError, ReplyBuf, Request, abi};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn slow_read(request: &Request<'_>) {
    request.will_block();
    std::thread::sleep(Duration::from_millis(300));
}

fn with_read(on_read: fn(&Request<'_>), options: ServerOptions) -> Fixture {
    let fixture = Fixture::with(Arc::new(Memory::with_read(on_read)), options);
    fs::write(fixture.path("file"), b"data").unwrap();
    fixture.remount(options)
}

/// Another server on the descriptor of a stopped one, by way of what a process would be sent.
fn take_over(fixture: &Fixture) -> Connection {
    let old = fixture.server.connection();
    let state = serde_json::to_string(old.negotiated()).unwrap();
    let device = old.as_fd().try_clone_to_owned().unwrap();
    Connection::adopt(device, serde_json::from_str::<Negotiated>(&state).unwrap())
}

#[test]
fn a_pause_holds_requests_back_and_loses_none() {
    let f = Fixture::new();
    let done = AtomicBool::new(false);
    let calls = AtomicU64::new(0);
    let mut longest = Duration::ZERO;
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (f, done, calls) = (&f, &done, &calls);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let name = f.path(&format!("file-{n}"));
                    fs::write(&name, b"x").unwrap();
                    fs::remove_file(&name).unwrap();
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..200 {
            let start = Instant::now();
            f.server.pause(BUDGET).unwrap();
            longest = longest.max(start.elapsed());
            let frozen = f.server.counts().snapshot();
            std::thread::sleep(Duration::from_micros(200));
            assert_eq!(f.server.counts().snapshot(), frozen, "a paused server reads nothing");
            f.server.resume();
            std::thread::sleep(Duration::from_micros(500));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(calls.load(Ordering::Relaxed) > 0);
    println!("longest of 200 pauses under 4 clients: {longest:?}");
}

#[test]
fn a_pause_that_takes_too_long_is_given_up_and_the_server_goes_on() {
    let f = with_read(slow_read, ServerOptions::default());
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(&f.path("file")));
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(f.server.pause(Duration::from_millis(10)), Err(PauseError::TimedOut));
        fs::write(f.path("another"), b"served").unwrap();
        assert_eq!(reader.join().unwrap(), b"data");
        f.server.pause(BUDGET).unwrap();
        f.server.resume();
    });
}

#[test]
fn a_sleeping_handler_keeps_no_one_else_waiting_even_on_one_cpu() {
    let f = with_read(slow_read, ServerOptions { cpus: 1, ..ServerOptions::default() });
    std::thread::scope(|scope| {
        let start = Instant::now();
        let reader = scope.spawn(|| read(&f.path("file")));
        std::thread::sleep(Duration::from_millis(50));
        fs::write(f.path("another"), b"meanwhile").unwrap();
        let other = start.elapsed();
        assert_eq!(reader.join().unwrap(), b"data");
        assert!(other < Duration::from_millis(250), "waited for the sleeper: {other:?}");
    });
}

#[test]
fn a_panic_in_the_handler_is_an_error_of_one_request() {
    let f = with_read(|_| panic!("as the test wants it"), ServerOptions::default());
    let error = fs::read(f.path("file")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5));
    fs::write(f.path("another"), b"still there").unwrap();
}

#[test]
fn a_live_connection_goes_to_another_server_without_a_handshake() {
    let f = Fixture::new();
    fs::write(f.path("file"), b"before").unwrap();
    let open = fs::File::open(f.path("file")).unwrap();
    f.server.stop(BUDGET).unwrap();
    assert_eq!(f.server.wait(), End::Stopped);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| fs::write(f.path("during"), b"during").unwrap());
        std::thread::sleep(Duration::from_millis(20));
        let memory: Arc<Memory> = Arc::clone(f.server.handler());
        let next = Server::start(take_over(&f), memory, ServerOptions::default()).unwrap();
        waiting.join().unwrap();
        assert_eq!(read(&f.path("during")), b"during");
        assert_eq!(std::io::read_to_string(&open).unwrap(), "before");
        drop(open);
        unmount(&f.mount);
        assert_eq!(next.wait(), End::Unmounted);
    });
}

#[test]
fn a_request_that_a_dead_server_had_in_hand_is_sent_again() {
    struct Watch(Arc<Memory>, AtomicU64);
    impl Handler for Watch {
        fn handle(&self, request: &Request<'_>, op: Op<'_>, reply: &mut ReplyBuf<'_>) -> Result<(), Errno> {
            self.1.fetch_add(u64::from(request.header.is_resent()), Ordering::Relaxed);
            self.0.handle(request, op, reply)
        }
    }
    let f = Fixture::new();
    if !f.server.connection().negotiated().flags().contains(abi::InitFlags::HAS_RESEND) {
        return eprintln!("this kernel cannot send requests again (Linux 6.9 and later can)");
    }
    f.server.stop(BUDGET).unwrap();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| fs::create_dir(f.path("dir")).unwrap());
        let connection = take_over(&f);
        let mut buffer = connection.request_buffer();
        // Read, and never answered.
        assert!(connection.receive(&mut buffer).unwrap().is_some());
        connection.notify(Notification::Resend).unwrap();
        let watch = Arc::new(Watch(Arc::clone(f.server.handler()), AtomicU64::new(0)));
        let next = Server::start(connection, Arc::clone(&watch), ServerOptions::default()).unwrap();
        client.join().unwrap();
        assert_eq!(watch.1.load(Ordering::Relaxed), 1);
        unmount(&f.mount);
        assert_eq!(next.wait(), End::Unmounted);
    });
}

#[test]
fn a_mount_in_use_is_busy_and_a_foreign_one_on_top_is_left_alone() {
    let f = Fixture::new();
    fs::write(f.path("file"), b"x").unwrap();
    let open = fs::File::open(f.path("file")).unwrap();
    assert!(matches!(f.mount.unmount(Detach::IfIdle), Err(UnmountError::Busy(_))));
    drop(open);
    rustix::mount::mount("none", f.dir.path(), "tmpfs", rustix::mount::MountFlags::empty(), c"size=4k")
        .unwrap();
    assert!(matches!(f.mount.unmount(Detach::IfIdle), Err(UnmountError::NotOurs(_))));
    assert!(f.path("").join(".").exists());
    rustix::mount::unmount(f.dir.path(), rustix::mount::UnmountFlags::empty()).unwrap();
    unmount(&f.mount);
    assert!(matches!(f.mount.unmount(Detach::IfIdle), Err(UnmountError::NotOurs(_))));
}

#[test]
fn a_mount_whose_server_died_makes_room_for_the_next() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path();
    let serve = || {
        let (device, mount) = mount(dir, &MountOptions::image("memory")).unwrap();
        let connection = Connection::handshake(device, &InitConfig::default()).unwrap();
        let server = Server::start(connection, Memory::new(), ServerOptions::default()).unwrap();
        prime(dir, bento_user::fuse::Opens::Stateless).unwrap();
        (server, mount)
    };
    let (server, dead) = serve();
    names(dir);
    server.stop(BUDGET).unwrap();
    drop(server);
    assert!(dead.is_in_place(), "dead, and still there");
    let (server, mount) = serve();
    fs::write(dir.join("file"), b"alive").unwrap();
    unmount(&mount);
    assert_eq!(server.wait(), End::Unmounted);
}

#[test]
fn unmounting_a_block_device_waits_for_the_last_word_of_the_server() {
    struct Device(Memory, AtomicBool);
    impl Handler for Device {
        fn handle(&self, request: &Request<'_>, op: Op<'_>, reply: &mut ReplyBuf<'_>) -> Result<(), Errno> {
            if matches!(op, Op::Destroy) {
                std::thread::sleep(Duration::from_millis(100));
                self.1.store(true, Ordering::SeqCst);
            }
            self.0.handle(request, op, reply)
        }
    }
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    fs::File::create(&image).unwrap().set_len(1 << 20).unwrap();
    let output = Command::new("losetup").args(["--find", "--show"]).arg(&image).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let device = String::from_utf8(output.stdout).unwrap();
    let device = Path::new(device.trim_end());
    let dir = scratch.path().join("dir");
    fs::create_dir(&dir).unwrap();

    let (fuse, mount) = mount(&dir, &MountOptions::for_path(device).unwrap()).unwrap();
    // The kernel detaches the loop device by itself once nobody uses it.
    Command::new("losetup").arg("--detach").arg(device).status().unwrap();
    let connection = Connection::handshake(fuse, &InitConfig::default()).unwrap();
    let handler = Arc::new(Device(Memory::new(), AtomicBool::new(false)));
    let server = Server::start(connection, Arc::clone(&handler), ServerOptions::default()).unwrap();
    prime(&dir, Opens::Stateless).unwrap();
    mount.set_read_ahead(1024).unwrap();
    fs::write(dir.join("file"), b"x").unwrap();
    rustix::fs::syncfs(fs::File::open(&dir).unwrap()).unwrap();
    unmount(&mount);
    assert!(handler.1.load(Ordering::SeqCst), "umount(2) returned before DESTROY was answered");
    assert_eq!(server.wait(), End::Unmounted);
}
