// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Starts weft-relay and talks to it.
#include "tests/net/ktls/relay.hpp"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <csignal>
#include <filesystem>
#include <ctime>
#include <sstream>
#include <vector>

#include <gtest/gtest.h>

namespace weft::ktls::test {

using std::chrono::milliseconds;

std::string Relay::program() {
    std::array<char, PATH_MAX> self{};
    (void)!::readlink("/proc/self/exe", self.data(), self.size() - 1);
    return std::filesystem::path(self.data()).parent_path().parent_path() / "bin" / "weft-relay";
}

Relay::Relay(const std::string& arguments, const std::string& program) {
    std::string pattern = "/tmp/weft-relay-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ + "/socket";
    std::vector<std::string> words = {program.empty() ? Relay::program() : program, "--socket", path_};
    std::istringstream given(arguments);
    for (std::string word; given >> word;) {
        words.push_back(word);
    }
    std::vector<char*> vector;
    for (auto& word : words) {
        vector.push_back(word.data());
    }
    vector.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
        (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
        ::execv(vector[0], vector.data());
        ::_exit(127);
    }
    const bool up = eventually([&] {
        auto made = RelayClient::connect(path_);
        if (made) {
            client_.emplace(std::move(*made));
        }
        return client_.has_value() || ::waitpid(pid_, nullptr, WNOHANG) != 0;
    });
    if (!up || !client_) {
        ADD_FAILURE() << words[0] << " does not start";
        std::abort(); // nothing in such a test can go on
    }
    EXPECT_TRUE(client_->watch().has_value());
    EXPECT_TRUE(client_->await(WEFT_RELAY_WATCH, kPatience).has_value());
}

Relay::~Relay() {
    client_.reset();
    (void)::kill(pid_, SIGKILL);
    (void)::waitpid(pid_, nullptr, 0);
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
}

weft_relay_info Relay::info() {
    EXPECT_TRUE(client_->hello().has_value());
    auto answer = client_->await(WEFT_RELAY_HELLO, kPatience);
    EXPECT_TRUE(answer.has_value()) << (answer ? "" : answer.error().message());
    return answer ? answer->info : weft_relay_info{};
}

std::uint16_t Relay::carry(std::uint64_t id, UniqueFd& app, UniqueFd& peer, std::uint32_t flags, std::uint64_t limit) {
    EXPECT_TRUE(client_->hand_over(id, app.get(), peer.get(), flags, limit).has_value());
    auto answer = client_->await(WEFT_RELAY_HAND_OVER, kPatience);
    EXPECT_TRUE(answer.has_value()) << (answer ? "" : answer.error().message());
    if (answer && answer->head.status == WEFT_RELAY_OK) {
        app.reset();
        peer.reset();
    }
    return answer ? answer->head.status : std::uint16_t{0xffff};
}

std::optional<weft_relay_entry> Relay::entry(std::uint64_t id) {
    EXPECT_TRUE(client_->get(id).has_value());
    // Every slot is looked at in one answer unless the list is full, which one connection cannot do.
    auto answer = client_->await(WEFT_RELAY_LIST, kPatience);
    return answer && !answer->entries.empty() ? std::optional(answer->entries[0]) : std::nullopt;
}

weft_relay_entry Relay::event(std::uint64_t id) {
    weft_relay_entry found{};
    EXPECT_TRUE(eventually([&] {
        auto message = client_->receive();
        if (!message) {
            ADD_FAILURE() << message.error().message();
            return true;
        }
        if (*message && (*message)->head.op == WEFT_RELAY_EVENT && (*message)->head.id == id) {
            found = (*message)->entries.at(0);
            return true;
        }
        return false;
    })) << "no event about "
        << id;
    return found;
}

void Relay::kill_child() {
    const auto before = info().child_pid;
    (void)::kill(static_cast<pid_t>(before), SIGKILL);
    EXPECT_TRUE(eventually([&] { return info().child_pid != before; })) << "the child is not replaced";
}

double cpu_ms(pid_t process) {
    clockid_t clock{};
    timespec used{};
    EXPECT_EQ(::clock_getcpuclockid(process, &clock), 0);
    EXPECT_EQ(::clock_gettime(clock, &used), 0);
    return static_cast<double>(used.tv_sec) * 1e3 + static_cast<double>(used.tv_nsec) / 1e6;
}

} // namespace weft::ktls::test
