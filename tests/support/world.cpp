// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tests/support/world.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace weft::test {
namespace {

[[noreturn]] void fail(const std::string& what) {
    throw std::runtime_error(what + ": " + std::strerror(errno));
}

/// Runs in a fresh thread, because a namespace change stays with the thread that made it.
void in_thread(const std::function<void()>& work) {
    std::exception_ptr error;
    std::thread([&] {
        try {
            work();
        } catch (...) {
            error = std::current_exception();
        }
    }).join();
    if (error) {
        std::rethrow_exception(error);
    }
}

void shell_here(const std::string& command) {
    if (::system(command.c_str()) != 0) { // NOLINT(cert-env33-c): fixed commands of the tests themselves
        throw std::runtime_error("command failed: " + command);
    }
}

std::string cgroup2_mount() {
    std::ifstream mounts("/proc/mounts");
    std::string device, path, type, rest;
    while (mounts >> device >> path >> type && std::getline(mounts, rest)) {
        if (type == "cgroup2") {
            return path;
        }
    }
    throw std::runtime_error("no cgroup2 mount: mount -t cgroup2 cgroup2 /sys/fs/cgroup");
}

std::string own_cgroup() {
    std::ifstream file("/proc/self/cgroup");
    std::string line;
    while (std::getline(file, line)) {
        if (line.starts_with("0::")) {
            return cgroup2_mount() + line.substr(3);
        }
    }
    return cgroup2_mount();
}

void enter(const std::string& cgroup) {
    std::ofstream procs(cgroup + "/cgroup.procs");
    procs << ::getpid() << std::flush;
    if (!procs) {
        fail("cannot enter " + cgroup);
    }
}

/// Removes empty cgroups of test runs whose process is gone.
void sweep_cgroups(const std::string& mount) {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(mount, ignored)) {
        const std::string name = entry.path().filename();
        if (name.starts_with("weft-test-") && ::kill(std::atoi(name.c_str() + 10), 0) != 0) {
            (void)::rmdir(entry.path().c_str()); // busy: somebody still uses it
        }
    }
}

weft_bpf* load(const std::function<void(weft_bpf&)>& before_load) {
    weft_bpf* bpf = weft_bpf__open();
    if (bpf != nullptr && before_load) {
        before_load(*bpf);
    }
    if (bpf == nullptr || weft_bpf__load(bpf) != 0) {
        fail("cannot load the BPF object");
    }
    return bpf;
}

void empty(const bpf_map* map) {
    const int fd = bpf_map__fd(map);
    std::vector<char> key(bpf_map__key_size(map));
    switch (bpf_map__type(map)) {
    case BPF_MAP_TYPE_SK_STORAGE: // goes with its sockets
    case BPF_MAP_TYPE_RINGBUF:    // is read at the end of a world
        return;
    case BPF_MAP_TYPE_ARRAY:
    case BPF_MAP_TYPE_PERCPU_ARRAY: {
        const std::size_t value = (std::size_t{bpf_map__value_size(map)} + 7) / 8 * 8;
        const std::vector<char> zero(value * static_cast<std::size_t>(libbpf_num_possible_cpus()));
        for (std::uint32_t i = 0; i < bpf_map__max_entries(map); ++i) {
            if (bpf_map_update_elem(fd, &i, zero.data(), BPF_ANY) != 0) {
                fail(std::string("cannot empty map ") + bpf_map__name(map));
            }
        }
        return;
    }
    default:
        while (bpf_map_get_next_key(fd, nullptr, key.data()) == 0) {
            (void)bpf_map_delete_elem(fd, key.data()); // gone already: the next look tells
        }
    }
}

/// The object of every world of this process, with empty maps. One world uses it at a time.
weft_bpf* shared() {
    static weft_bpf* const bpf = load({});
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, bpf->obj) {
        if (!bpf_map__is_internal(map)) {
            empty(map);
        }
    }
    return bpf;
}

template <typename K, typename V>
void put(const bpf_map* map, const K& key, const V& value) {
    if (bpf_map_update_elem(bpf_map__fd(map), &key, &value, BPF_ANY) != 0) {
        fail(std::string("cannot write map ") + bpf_map__name(map));
    }
}

} // namespace

Netns::Netns() {
    in_thread([this] {
        if (::unshare(CLONE_NEWNET) != 0) {
            fail("unshare: tests of the kernel programs need root");
        }
        fd_ = UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
        const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        socklen_t size = sizeof cookie_;
        if (::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie_, &size) != 0) {
            fail("SO_NETNS_COOKIE");
        }
        ifreq loopback{.ifr_ifrn = {"lo"}, .ifr_ifru = {}};
        loopback.ifr_flags = IFF_UP;
        if (::ioctl(socket.get(), SIOCSIFFLAGS, &loopback) != 0) {
            fail("cannot bring lo up");
        }
    });
}

void Netns::run(const std::function<void()>& work) const {
    in_thread([&] {
        if (::setns(fd_.get(), CLONE_NEWNET) != 0) {
            fail("setns");
        }
        work();
    });
}

void Netns::shell(const std::string& command) const {
    run([&] { shell_here(command); });
}

void Netns::ip(const std::string& commands) const {
    shell("exec ip -batch - <<'END'\n" + commands + "\nEND");
}

void Netns::await_link(const char* device) const {
    run([device] {
        const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        ifreq link{};
        std::strncpy(link.ifr_name, device, IFNAMSIZ - 1);
        for (int tries = 0; tries < 5000; ++tries) {
            if (::ioctl(socket.get(), SIOCGIFFLAGS, &link) == 0 && (link.ifr_flags & IFF_RUNNING) != 0) {
                return;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        fail(std::string("not up: ") + device);
    });
}

std::string Netns::path() const {
    return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd_.get());
}

PrivateCgroup::PrivateCgroup() : former_(own_cgroup()) {
    const std::string mount = cgroup2_mount();
    sweep_cgroups(mount);
    path_ = mount + "/weft-test-" + std::to_string(::getpid());
    if (::mkdir(path_.c_str(), 0755) != 0 && errno != EEXIST) {
        fail("mkdir " + path_);
    }
    enter(path_);
    fd_ = UniqueFd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

PrivateCgroup::~PrivateCgroup() {
    try {
        enter(former_);
    } catch (const std::exception&) {
        return; // the directory stays; the next run removes it
    }
    (void)::rmdir(path_.c_str());
}

void PrivateCgroup::leave() const {
    enter(former_);
}

void PrivateCgroup::join() const {
    enter(path_);
}

World::World(const std::function<void(weft_bpf&)>& before_load) {
    rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
    (void)::setrlimit(RLIMIT_MEMLOCK, &unlimited); // only kernels before 5.11 count BPF memory here
    client.ip("link add veth0 type veth peer name veth0 netns " + server.path() + R"(
        addr add 10.77.0.1/24 dev veth0
        addr add fd77::1/64 dev veth0 nodad
        link set veth0 up)");
    std::ostringstream addresses;
    addresses << "link set veth0 up\n";
    for (int i = 2; i <= 9; ++i) {
        addresses << "addr add 10.77.0." << i << "/24 dev veth0\naddr add fd77::" << i << "/64 dev veth0 nodad\n";
    }
    server.ip(addresses.str());
    client.await_link("veth0");
    server.await_link("veth0");
    // Taken as the kernel's link watcher is done, since both hold the same lock: from here on packets pass.
    client.ip("route add default via 10.77.0.2\nroute add ::/0 via fd77::2");

    shared_ = !before_load;
    bpf_ = shared_ ? shared() : load(before_load);
    put(bpf_->maps.weft_config, std::uint32_t{0}, config_);
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, bpf_->obj) {
        const std::string section = bpf_program__section_name(program);
        if (!section.starts_with("cgroup") && section != "sockops") {
            continue;
        }
        bpf_link* link = bpf_program__attach_cgroup(program, cgroup.fd());
        if (link == nullptr) {
            fail("cannot attach " + section);
        }
        links_.push_back(link);
    }
    if (bpf_prog_attach(bpf_program__fd(bpf_->progs.weft_sk_msg), bpf_map__fd(bpf_->maps.weft_accel_sk),
                        BPF_SK_MSG_VERDICT, 0) != 0) {
        fail("cannot attach sk_msg");
    }
    ring_ = ring_buffer__new(
        bpf_map__fd(bpf_->maps.weft_events),
        [](void* self, void* data, std::size_t) {
            auto& world = *static_cast<World*>(self);
            const auto& event = *static_cast<const weft_event*>(data);
            if (event.netns == world.client.cookie() || event.netns == world.server.cookie()) {
                world.events_.push_back(event); // others are late ones of the world before, where the ring is shared
            }
            return 0;
        },
        this, nullptr);
    set_endpoint(client, "10.77.0.1", "fd77::1", 0);
    set_endpoint(server, "10.77.0.2", "fd77::2", WEFT_ENDPOINT_ANY_SOURCE);
}

World::~World() {
    ring_buffer__free(ring_);
    for (bpf_link* link : links_) {
        bpf_link__destroy(link);
    }
    if (!shared_) {
        weft_bpf__destroy(bpf_);
    }
}

void World::set_endpoint(const Netns& netns, const std::string& v4, const std::string& v6, std::uint32_t flags,
                         std::uint64_t policy) {
    weft_endpoint endpoint{};
    endpoint.workload = netns.cookie() * 1000;
    endpoint.policy = policy;
    endpoint.addr4 = Ip::parse(v4)->raw();
    endpoint.addr6 = Ip::parse(v6)->raw();
    endpoint.flags = flags;
    put(bpf_->maps.weft_endpoint, netns.cookie(), endpoint);
    put(bpf_->maps.weft_local, endpoint.addr4, netns.cookie());
    put(bpf_->maps.weft_local, endpoint.addr6, netns.cookie());
}

std::uint64_t service_id_of(const weft_addr_port& frontend) {
    return 0x5000000000000000ULL + frontend.addr.word[3] * 65536ULL * 256 + frontend.port * 256ULL + frontend.proto;
}

void World::set_service(const weft_addr_port& frontend, const std::vector<weft_addr_port>& backends,
                        std::uint16_t algorithm, std::uint16_t flags, std::uint32_t affinity_seconds,
                        const std::vector<std::uint32_t>& weights) {
    static std::uint64_t next_set = 1000;
    weft_service service{};
    service.service = service_id_of(frontend);
    service.set = next_set++;
    service.slot_count = static_cast<std::uint32_t>(backends.size());
    service.affinity_seconds = affinity_seconds;
    service.algorithm = algorithm;
    service.flags = static_cast<std::uint16_t>(flags | (affinity_seconds != 0 ? WEFT_SERVICE_AFFINITY : 0U));
    for (std::uint32_t i = 0; i < backends.size(); ++i) {
        put(bpf_->maps.weft_slot, weft_slot_key{service.set, i, 0},
            weft_slot{backends[i], weights.empty() ? 1 : weights[i]});
        put(bpf_->maps.weft_member, weft_member_key{service.service, backends[i], 0}, std::uint32_t{1});
    }
    if (algorithm == WEFT_ALGORITHM_MAGLEV) {
        for (std::uint32_t chunk = 0; chunk < WEFT_MAGLEV_CHUNKS; ++chunk) {
            weft_maglev_chunk table{};
            for (std::uint32_t i = 0; i < WEFT_MAGLEV_CHUNK; ++i) {
                table.slot[i] = static_cast<std::uint16_t>((chunk * WEFT_MAGLEV_CHUNK + i) % backends.size());
            }
            put(bpf_->maps.weft_maglev, weft_maglev_key{service.set, chunk, 0}, table);
        }
    }
    put(bpf_->maps.weft_service, frontend, service);
}

void World::remove_member(const weft_addr_port& frontend, const weft_addr_port& backend) {
    const weft_member_key key{service_id_of(frontend), backend, 0};
    if (bpf_map_delete_elem(bpf_map__fd(bpf_->maps.weft_member), &key) != 0) {
        fail("cannot remove a member");
    }
}

void World::set_identity(const Ip& ip, std::uint64_t identity, std::uint32_t flags) {
    put(bpf_->maps.weft_ipcache, ip.raw(), weft_peer{identity, flags, 0});
}

void World::allow(std::uint64_t policy, std::uint32_t direction, std::uint64_t identity, std::uint8_t proto,
                  std::uint16_t port) {
    const std::uint64_t rule = policy * 10 + direction;
    const std::uint64_t ports = port == 0 ? 0 : (std::uint64_t{1} << 40) + port * 256ULL + proto;
    put(bpf_->maps.weft_policy, weft_policy_key{policy, identity, direction, 0}, weft_policy_entry{ports, rule});
    if (port != 0) {
        const weft_ports_key key{WEFT_PORTS_PREFIX + 16,
                                 static_cast<std::uint32_t>(ports >> 32),
                                 static_cast<std::uint32_t>(ports),
                                 proto,
                                 0,
                                 __builtin_bswap16(port)};
        put(bpf_->maps.weft_ports, key, rule);
    }
}

void World::deny(std::uint64_t policy, std::uint32_t direction, std::uint64_t identity) {
    const weft_policy_key key{policy, identity, direction, 0};
    if (bpf_map_delete_elem(bpf_map__fd(bpf_->maps.weft_policy), &key) != 0) {
        fail("cannot remove a policy entry");
    }
}

void World::bump_revision() {
    ++config_.revision;
    put(bpf_->maps.weft_config, std::uint32_t{0}, config_);
}

void World::set_config_flags(std::uint32_t flags) {
    config_.flags = flags;
    put(bpf_->maps.weft_config, std::uint32_t{0}, config_);
}

std::uint64_t World::drops(std::uint32_t reason, std::uint32_t direction) {
    const std::uint32_t index = reason * WEFT_DIRECTION_COUNT + direction;
    std::vector<std::uint64_t> values(static_cast<std::size_t>(libbpf_num_possible_cpus()));
    if (bpf_map_lookup_elem(bpf_map__fd(bpf_->maps.weft_drops), &index, values.data()) != 0) {
        fail("cannot read counters");
    }
    std::uint64_t sum = 0;
    for (const auto value : values) {
        sum += value;
    }
    return sum;
}

std::int64_t World::connections(const weft_addr_port& backend) {
    std::int64_t count = 0;
    (void)bpf_map_lookup_elem(bpf_map__fd(bpf_->maps.weft_conns), &backend, &count); // absent: none was ever open
    return count;
}

std::vector<weft_event> World::events() {
    (void)ring_buffer__consume(ring_); // the callback never fails
    return events_;
}

} // namespace weft::test
