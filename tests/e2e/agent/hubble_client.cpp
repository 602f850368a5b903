// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tests/e2e/agent/hubble_client.hpp"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace weft::test {
namespace {

std::string client() {
    return std::filesystem::read_symlink("/proc/self/exe").replace_filename("hubble_client").string();
}

// A line that is still being written has no end, and waits.
std::vector<nlohmann::json> answers(const std::string& text) {
    std::vector<nlohmann::json> out;
    for (std::size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
        const auto line = text.substr(begin, end - begin);
        out.push_back(line.starts_with("{") ? nlohmann::json::parse(line) : nlohmann::json(line));
    }
    return out;
}

} // namespace

std::string admin_target(const AgentWorld& world) {
    return "unix://" + world.run_dir() + "/admin.sock";
}

std::vector<nlohmann::json> ask_hubble(const AgentWorld& world, const std::string& target,
                                       const std::vector<std::string>& words) {
    std::vector<std::string> argv{client(), target};
    argv.insert(argv.end(), words.begin(), words.end());
    return answers(world.run(argv).output);
}

HubbleStream::HubbleStream(const AgentWorld& world, const std::string& target, std::vector<std::string> words) {
    static std::atomic<int> count{0};
    output_ = fmt::format("{}/hubble-{}", world.root(), ++count);
    words.insert(words.begin(), {client(), target});
    auto child = lab::launch({.argv = std::move(words), .netns = world.netns(), .log_file = output_});
    if (!child) {
        throw std::runtime_error(child.error().message());
    }
    process_ = std::make_unique<Process>(child->pid);
}

std::vector<nlohmann::json> HubbleStream::read() const {
    std::ostringstream text;
    text << std::ifstream(output_).rdbuf();
    return answers(text.str());
}

} // namespace weft::test
