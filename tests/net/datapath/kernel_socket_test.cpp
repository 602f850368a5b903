// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Sockets that the kernel makes never pass the create hook: its own are left alone, and those below an application's
// MPTCP socket are judged as the application's.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <fstream>
#include <span>

#include "tests/net/datapath/family.hpp"

namespace weft::test {
namespace {

constexpr std::uint64_t kPolicy = 4242;
constexpr std::uint64_t kPeer = 5000;

bool readable(const UniqueFd& fd, int milliseconds) {
    pollfd event{fd.get(), POLLIN, 0};
    return ::poll(&event, 1, milliseconds) == 1;
}

class KernelSocketTest : public DatapathTest {
protected:
    void isolate_client() {
        world.set_endpoint(world.client, "10.77.0.1", "fd77::1", WEFT_ENDPOINT_ISOLATED_EGRESS, kPolicy);
        world.bump_revision();
    }
    UniqueFd multipath(const Netns& netns) {
        UniqueFd fd;
        netns.run([&] {
            fd.reset(::socket(family.domain(), SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
            const timeval limit{1, 0};
            (void)::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        });
        return fd;
    }
};

// The kernel's own clients take no mapped address.
class MountTest : public KernelSocketTest {};

INSTANTIATE_TEST_SUITE_P(Families, KernelSocketTest, ::testing::ValuesIn(kFamilies), family_name);
INSTANTIATE_TEST_SUITE_P(Families, MountTest, ::testing::ValuesIn(std::span(kFamilies).first(2)), family_name);

TEST_P(KernelSocketTest, MultipathDoesNotPassByPolicy) {
    const auto listener = serve_tcp(3, 8080);
    if (!multipath(world.client).valid()) {
        GTEST_SKIP() << "this kernel has no MPTCP";
    }
    EXPECT_EQ(connect_to(multipath(world.client).get(), family.dial(family.server(3), 8080)), 0);
    EXPECT_TRUE(readable(listener, 1000));
    const UniqueFd first(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    isolate_client();
    EXPECT_NE(connect_to(multipath(world.client).get(), family.dial(family.server(3), 8080)), 0);
    EXPECT_FALSE(readable(listener, 0));
    EXPECT_GE(world.drops(WEFT_REASON_POLICY_DENIED, WEFT_EGRESS), 1U);
    world.set_identity(*Ip::parse(family.server(3)), kPeer);
    world.allow(kPolicy, WEFT_EGRESS, kPeer, IPPROTO_TCP, 8080);
    world.bump_revision();
    EXPECT_EQ(connect_to(multipath(world.client).get(), family.dial(family.server(3), 8080)), 0);
}

TEST_P(KernelSocketTest, AMultipathListenerIsJudgedToo) {
    UniqueFd listener = multipath(world.server);
    if (!listener.valid()) {
        GTEST_SKIP() << "this kernel has no MPTCP";
    }
    const SockAddr at = family.dial(family.server(2), 8080);
    ASSERT_EQ(::bind(listener.get(), at.get(), at.size), 0);
    ASSERT_EQ(::listen(listener.get(), 8), 0);
    EXPECT_EQ(connect_to(client_socket(SOCK_STREAM, 1).get(), family.dial(family.server(2), 8080)), 0);
    world.set_endpoint(world.server, "10.77.0.2", "fd77::2", WEFT_ENDPOINT_ISOLATED_INGRESS, kPolicy);
    world.bump_revision();
    EXPECT_EQ(connect_to(client_socket(SOCK_STREAM, 1).get(), family.dial(family.server(2), 8080)), EINPROGRESS);
    EXPECT_EQ(connect_to(multipath(world.client).get(), family.dial(family.server(2), 8080)), EINPROGRESS);
    EXPECT_GE(world.drops(WEFT_REASON_POLICY_DENIED, WEFT_INGRESS), 2U);
}

/// A file system that the kernel mounts over its own TCP socket, from inside a pod.
class Mount {
public:
    Mount(const Netns& netns, const std::string& server, std::uint16_t port) {
        const std::string netns_path = netns.path();
        const std::string source = "//" + server + "/share";
        const std::string options = "ip=" + server + ",port=" + std::to_string(port) + ",user=u,pass=p,vers=3.0";
        child_ = ::fork();
        if (child_ == 0) {
            const int fd = ::open(netns_path.c_str(), O_RDONLY | O_CLOEXEC);
            if (::setns(fd, CLONE_NEWNET) != 0 || ::unshare(CLONE_NEWNS) != 0 ||
                ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
                ::_exit(255);
            }
            ::_exit(::mount(source.c_str(), "/tmp", "cifs", 0, options.c_str()) == 0 ? 0 : 1);
        }
    }
    ~Mount() {
        (void)::kill(child_, SIGKILL);
        (void)::waitpid(child_, nullptr, 0);
    }
    Mount(const Mount&) = delete;
    Mount& operator=(const Mount&) = delete;

private:
    pid_t child_ = -1;
};

bool kernel_has(const std::string& filesystem) {
    std::ifstream known("/proc/filesystems");
    for (std::string word; known >> word;) {
        if (word == filesystem) {
            return true;
        }
    }
    return false;
}

TEST_P(MountTest, AMountIsLeftAlone) {
    if (!kernel_has("cifs")) {
        GTEST_SKIP() << "this kernel has no file system whose sockets are made by the caller of mount";
    }
    isolate_client();
    const auto listener = serve_tcp(3, 4450);
    EXPECT_EQ(connect_to(client_socket(SOCK_STREAM).get(), family.dial(family.server(3), 4450)), ECONNREFUSED);
    const Mount mount(world.client, family.server(3), 4450);
    ASSERT_TRUE(readable(listener, 5000)) << "the kernel's connection";
    const UniqueFd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_TRUE(readable(accepted, 5000)) << "its first message";
    EXPECT_GE(world.drops(WEFT_REASON_KERNEL_SOCKET, WEFT_EGRESS), 1U);
}

} // namespace
} // namespace weft::test
