// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tests/net/mesh/mesh_world.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <future>
#include <thread>

#include "weft/abi/mesh.h"
#include "weft/ktls/probe.hpp"

namespace weft::test {
namespace {

constexpr const char* kTrustDomain = "cluster.local";

} // namespace

MeshWorld::MeshWorld() : pins_(fmt::format("/sys/fs/bpf/weft-mesh-test-{}-{}", ::getpid(), ::rand())) {}

MeshWorld::~MeshWorld() {
    mesh.reset();
    (void)bpf::remove_version(bpf::PinLayout(pins_).version_dir());
    std::error_code ignored;
    std::filesystem::remove(pins_, ignored);
    for (int attempt = 0; attempt < 50; ++attempt) { // the kernel empties a cgroup a moment after its last process
        if (::rmdir((world.cgroup.path() + "/weft-mesh").c_str()) == 0 || errno == ENOENT) {
            break;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
}

bool MeshWorld::kernel_tls() {
    return probe().tier == ktls::Tier::kRelay;
}

const ktls::Probe& MeshWorld::probe() {
    static const ktls::Probe probe = ktls::probe_kernel();
    return probe;
}

void MeshWorld::add(const Netns& netns, const std::string& name, const std::string& account, const std::string& v4,
                    const std::string& v6) {
    mesh::Workload workload;
    workload.netns_cookie = netns.cookie();
    workload.netns_path = netns.path();
    workload.namespace_name = "shop";
    workload.pod_name = name;
    workload.id = *SpiffeId::make(kTrustDomain, "shop", account);
    workload.addr4 = *Ip::parse(v4);
    workload.addr6 = *Ip::parse(v6);
    view.peers[workload.addr4] = workload.id;
    view.peers[workload.addr6] = workload.id;
    world.set_identity(workload.addr4, 700, WEFT_PEER_MESH | WEFT_PEER_DIALS);
    world.set_identity(workload.addr6, 700, WEFT_PEER_MESH | WEFT_PEER_DIALS);
    ktls::ContextOptions tls;
    tls.rekey = probe().rekey;
    view.contexts[workload.id] = authority.context(ktls::test::leaf_of(account), tls);
    view.workloads[netns.cookie()] = std::make_shared<const mesh::Workload>(std::move(workload));
}

void MeshWorld::start(mesh::Limits limits) {
    add(world.client, "web", "web", "10.77.0.1", "fd77::1");
    add(world.server, "api", "api", "10.77.0.2", "fd77::2");
    relay.emplace(); // carries where the kernel takes records, and keeps what the next agent needs everywhere
    limits_ = limits;
    ASSERT_TRUE(bpf::PinLayout(pins_).create().has_value());
    ASSERT_NO_FATAL_FAILURE(start_again());
}

void MeshWorld::start_again() {
    mesh::MeshOptions options;
    options.cgroup = world.cgroup.path() + "/weft-mesh";
    options.pin_dir = pins_;
    options.limits = limits_;
    options.relay_socket = relay->path();
    options.key_limit = key_limit;
    auto recovered = mesh::recover(options.relay_socket);
    ASSERT_TRUE(recovered.has_value()) << recovered.error().message();
    options.recovered = std::move(*recovered);
    auto kernel = mesh::KernelState::open(
        bpf_map__fd(world.bpf().maps.weft_socket), bpf_map__fd(world.bpf().maps.weft_mesh_dial),
        bpf_map__fd(world.bpf().maps.weft_mesh_peer), bpf_map__fd(world.bpf().maps.weft_mesh_lstn));
    ASSERT_TRUE(kernel.has_value()) << kernel.error().message();
    auto started = mesh::Mesh::start(std::move(options), std::move(*kernel), [this](const mesh::FailureReport& report) {
        const std::lock_guard lock(reports_mutex);
        reports.push_back(report);
    });
    ASSERT_TRUE(started.has_value()) << started.error().message();
    mesh = std::move(*started);
    mesh->set_program(bpf_program__fd(world.bpf().progs.weft_steer));
    publish();
}

pid_t MeshWorld::start_in_a_process() {
    std::array<int, 2> ends{-1, -1};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
        (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
        start_again();
        const char good = HasFailure() ? 'n' : 'y';
        (void)!::write(ends[1], &good, 1);
        for (;;) {
            ::pause();
        }
    }
    const UniqueFd reader(ends[0]);
    ::close(ends[1]);
    char good = 'n';
    EXPECT_EQ(::read(reader.get(), &good, 1), 1);
    EXPECT_EQ(good, 'y');
    return pid;
}

void MeshWorld::kill(pid_t process) {
    EXPECT_EQ(::kill(process, SIGKILL), 0);
    EXPECT_EQ(::waitpid(process, nullptr, 0), process);
}

void MeshWorld::publish() {
    mesh->update(std::make_shared<const mesh::View>(view));
    EXPECT_TRUE(mesh->trouble().empty()) << mesh->trouble().front();
    for (const auto& [cookie, workload] : view.workloads) {
        weft_endpoint endpoint{};
        ASSERT_EQ(bpf_map_lookup_elem(bpf_map__fd(world.bpf().maps.weft_endpoint), &cookie, &endpoint), 0);
        endpoint.flags = (endpoint.flags & ~static_cast<std::uint32_t>(WEFT_ENDPOINT_STRICT)) | endpoint_flags;
        if (cookie == world.client.cookie()) {
            endpoint.flags &= ~client_withdrawn;
        }
        endpoint.dial_port = mesh->dial_ports().at(cookie);
        ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(world.bpf().maps.weft_endpoint), &cookie, &endpoint, BPF_ANY), 0);
    }
}

void MeshWorld::set_mode(k8s::TlsMode mode) {
    for (auto& [cookie, workload] : view.workloads) {
        auto copy = *workload;
        copy.mode = mode;
        workload = std::make_shared<const mesh::Workload>(std::move(copy));
    }
    endpoint_flags = WEFT_ENDPOINT_MESH | WEFT_ENDPOINT_DIALS |
                     (mode == k8s::TlsMode::kStrict ? static_cast<std::uint32_t>(WEFT_ENDPOINT_STRICT) : 0U);
    publish();
}

void MeshWorld::withdraw_client() {
    client_withdrawn = WEFT_ENDPOINT_DIALS;
    publish();
}

UniqueFd MeshWorld::listen_in_server(std::uint16_t port) {
    return serve_tcp(2, port);
}

MeshWorld::Ends MeshWorld::connect(std::uint16_t port) {
    Ends ends;
    const auto listener = listen_in_server(port);
    ends.client = client_socket(SOCK_STREAM, 20);
    ends.error = connect_to(ends.client.get(), family.dial(family.server(2), port));
    const timeval limit{20, 0};
    (void)::setsockopt(listener.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ends.server.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    (void)::setsockopt(ends.server.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)::setsockopt(ends.server.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return ends;
}

std::string MeshWorld::connect_and_receive(int client, std::uint16_t port) {
    const int code = connect_to(client, family.dial(family.server(2), port));
    return code == 0 ? receive(client).first : std::string("!") + ::strerrorname_np(code);
}

std::uint64_t MeshWorld::failures(mesh::Side side, const std::string& reason) const {
    const auto all = mesh->stats().failures();
    const auto found = all.find({side, reason});
    return found == all.end() ? 0 : found->second;
}

bool exchange(int sender, int receiver, std::size_t bytes, unsigned seed) {
    const auto byte_at = [seed](std::size_t i) { return static_cast<char>((i * 2654435761U + seed) >> 7 ^ i); };
    auto received = std::async(std::launch::async, [&] {
        std::vector<char> buffer(70'001);
        std::size_t at = 0;
        while (at < bytes) {
            const ssize_t got = ::recv(receiver, buffer.data(), std::min(buffer.size(), bytes - at), 0);
            if (got <= 0) {
                return false;
            }
            for (ssize_t i = 0; i < got; ++i) {
                if (buffer[static_cast<std::size_t>(i)] != byte_at(at++)) {
                    return false;
                }
            }
        }
        return true;
    });
    std::size_t at = 0;
    std::size_t size = 1;
    while (at < bytes) {
        size = size * 7 % 65'537 + 1;
        std::vector<char> chunk(std::min(size, bytes - at));
        std::ranges::generate(chunk, [&, i = at]() mutable { return byte_at(i++); });
        const ssize_t put = ::send(sender, chunk.data(), chunk.size(), MSG_NOSIGNAL);
        if (put <= 0) {
            break;
        }
        at += static_cast<std::size_t>(put);
    }
    return received.get() && at == bytes;
}

std::optional<std::string> read_all(int fd) {
    std::string all;
    std::array<char, 4096> buffer{};
    for (;;) {
        const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
        if (got < 0) {
            return std::nullopt;
        }
        if (got == 0) {
            return all;
        }
        all.append(buffer.data(), static_cast<std::size_t>(got));
    }
}

} // namespace weft::test
