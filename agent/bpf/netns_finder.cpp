// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/netns_finder.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <string_view>
#include <vector>

#include "agent/bpf/netns.hpp"

namespace weft::bpf {
namespace fs = std::filesystem;
namespace {

// What is in /proc comes and goes while we look: whatever cannot be read is not there.
std::vector<fs::path> entries(const fs::path& directory) {
    std::vector<fs::path> found;
    std::error_code error;
    for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
        found.push_back(it->path());
    }
    return found;
}

class Search {
public:
    explicit Search(std::set<std::uint64_t> cookies) : wanted_(std::move(cookies)) {}

    [[nodiscard]] bool done() const { return wanted_.empty(); }

    // Asks for the cookie once per namespace, however many paths lead to it.
    void look_at(const fs::path& path) {
        struct stat facts{};
        if (done() || ::stat(path.c_str(), &facts) != 0 || !seen_.emplace(facts.st_dev, facts.st_ino).second) {
            return;
        }
        const auto cookie = netns_cookie(path);
        if (cookie && wanted_.erase(*cookie) > 0) {
            found_.emplace(*cookie, path);
        }
    }

    std::map<std::uint64_t, std::string> take() { return std::move(found_); }

private:
    std::set<std::uint64_t> wanted_;
    std::set<std::pair<dev_t, ino_t>> seen_;
    std::map<std::uint64_t, std::string> found_;
};

bool is_process(const fs::path& path) {
    return path.filename().string().find_first_not_of("0123456789") == std::string::npos;
}

bool is_netns(const fs::path& descriptor) {
    std::error_code error;
    return fs::read_symlink(descriptor, error).string().starts_with("net:[");
}

} // namespace

std::map<std::uint64_t, std::string> find_netns(std::set<std::uint64_t> cookies) {
    Search search(std::move(cookies));
    for (const fs::path& named : entries("/run/netns")) {
        search.look_at(named);
    }
    std::vector<fs::path> processes = entries("/proc");
    std::erase_if(processes, [](const fs::path& path) { return !is_process(path); });
    for (const fs::path& process : processes) {
        search.look_at(process / "ns/net");
    }
    for (const fs::path& process : processes) {
        if (search.done()) {
            break;
        }
        for (const fs::path& thread : entries(process / "task")) {
            search.look_at(thread / "ns/net");
        }
        for (const fs::path& descriptor : entries(process / "fd")) {
            if (is_netns(descriptor)) {
                search.look_at(descriptor);
            }
        }
    }
    return search.take();
}

} // namespace weft::bpf
