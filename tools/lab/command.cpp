// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft lab` itself and what its subcommands share: failure, names, manifests, tables.
#include "tools/lab/commands.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "agent/k8s/parse.hpp"
#include "tools/lab/report.hpp"

namespace weft::lab {
namespace {

namespace fs = std::filesystem;

bool is_manifest(const fs::path& path) {
    const auto extension = path.extension();
    return extension == ".yaml" || extension == ".yml" || extension == ".json";
}

std::vector<fs::path> manifest_files(const std::string& path) {
    std::error_code error;
    if (fs::is_regular_file(path, error)) {
        return {path};
    }
    if (!fs::is_directory(path, error)) {
        fail(Error(ENOENT,
                   fmt::format("{}: no such file or folder: give a folder of Kubernetes YAML, or one file", path)));
    }
    std::vector<fs::path> files;
    for (auto it = fs::recursive_directory_iterator(path, error); !error && it != fs::recursive_directory_iterator();
         it.increment(error)) {
        if (it->is_regular_file(error) && is_manifest(it->path())) {
            files.push_back(it->path());
        }
    }
    std::ranges::sort(files);
    if (files.empty()) {
        fail(Error(ENOENT, fmt::format("{}: no *.yaml, *.yml or *.json file in this folder", path)));
    }
    return files;
}

/// Whether the object has a container with an image, which the lab does not use.
bool names_image(const k8s::Object& object) {
    const auto any = [](const k8s::PodSpec& spec) {
        return std::ranges::any_of(spec.containers,
                                   [](const k8s::Container& container) { return !container.image.empty(); });
    };
    if (const auto* pod = std::get_if<k8s::Pod>(&object)) {
        return any(pod->spec);
    }
    const auto* deployment = std::get_if<k8s::Deployment>(&object);
    return deployment != nullptr && any(deployment->template_spec);
}

} // namespace

void fail(const Error& error) {
    std::cerr << "weft lab: " << error.message() << "\n";
    int code = cli::kFailed;
    if (error.code() == ENOENT || error.code() == ESRCH) {
        code = cli::kNotFound;
    } else if (error.code() == EACCES || error.code() == EPERM) {
        code = cli::kNoPermission;
    }
    throw CLI::RuntimeError(code);
}

void need_root() {
    if (::geteuid() != 0) {
        fail(Error(EPERM, "a lab makes network namespaces and cgroups, so it needs root: use sudo"));
    }
}

void add_name_option(CLI::App& command, std::string& name) {
    name = "lab";
    command.add_option("--name", name, "The lab's name, when there are several")->capture_default_str();
}

Result<std::pair<std::string, std::string>> parse_pod(const std::string& text) {
    const auto slash = text.find('/');
    auto parts = slash == std::string::npos ? std::pair(std::string("default"), text)
                                            : std::pair(text.substr(0, slash), text.substr(slash + 1));
    if (parts.first.empty() || parts.second.empty() || parts.second.find('/') != std::string::npos) {
        return invalid("'{}': write NAMESPACE/NAME", text);
    }
    return parts;
}

Json read_manifests(const std::string& path) {
    Json files = Json::array();
    bool refused = false;
    bool images = false;
    std::map<std::string, std::size_t> ignored;
    for (const auto& file : manifest_files(path)) {
        std::ifstream stream(file, std::ios::binary);
        std::stringstream text;
        text << stream.rdbuf();
        if (!stream) {
            fail(Error(EIO, fmt::format("cannot read {}", file.string())));
        }
        const auto parsed = k8s::parse_documents(text.str(), file.string());
        for (const auto& refusal : parsed.refusals) {
            std::cerr << refusal_text(refusal) << "\n";
            refused = true;
        }
        for (const auto& [kind, count] : parsed.ignored) {
            ignored[kind] += count;
        }
        images = images || std::ranges::any_of(parsed.objects, names_image);
        files.push_back(Json{{"name", file.string()}, {"text", text.str()}});
    }
    if (refused) {
        fail(Error(EINVAL, "the manifests above are refused; nothing was changed"));
    }
    for (const auto& [kind, count] : ignored) {
        std::cerr << fmt::format("note: {} {} ignored: the lab does not know this kind\n", count, kind);
    }
    if (images) {
        std::cerr
            << "note: `image:` is ignored: a pod runs its first container's command on this machine's own files\n";
    }
    return files;
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
    std::vector<std::size_t> widths;
    for (const auto& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i) {
            widths[i] = std::max(widths[i], row[i].size());
        }
    }
    std::string text;
    for (const auto& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i) {
            line += fmt::format("{:<{}}", row[i], widths[i] + 3);
        }
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + "\n";
    }
    return text;
}

} // namespace weft::lab

namespace weft::cli {

void add_lab_command(CLI::App& weft) {
    auto* lab = weft.add_subcommand("lab", "A whole cluster on this machine, from a folder of Kubernetes YAML");
    lab->require_subcommand(1);
    (void)::signal(SIGPIPE, SIG_IGN); // a reader that left is seen as an error of the write
    lab::add_up(*lab);
    lab::add_status(*lab);
    lab::add_changes(*lab);
    lab::add_exec(*lab);
    lab::add_probe(*lab);
    lab::add_down(*lab);
}

} // namespace weft::cli
