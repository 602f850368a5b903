// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Drives the real `weft` program as a user would; every lab it starts is taken down again, whatever a test does.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tools/lab/process.hpp"

namespace weft::e2e {

/// The `weft` program of this build.
std::string weft_program();

/// Runs `weft ARGUMENTS...`; at most `timeout_ms`.
lab::Finished weft(const std::vector<std::string>& arguments, const std::string& input = "", int timeout_ms = 120000);

/// Asks again and again until `holds`; false when `seconds` are over.
bool eventually(const std::function<bool()>& holds, int seconds = 10);

/// A lab of its own name, and a folder for its manifests.
class TestLab {
public:
    TestLab();
    ~TestLab();
    TestLab(const TestLab&) = delete;
    TestLab& operator=(const TestLab&) = delete;

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] std::string folder() const { return folder_.string(); }
    /// Writes FOLDER/FILE and returns its path.
    std::string write(const std::string& file, const std::string& text) const;

    /// `weft lab VERB ... --name NAME`.
    [[nodiscard]] lab::Finished run(std::vector<std::string> arguments, const std::string& input = "",
                                    int timeout_ms = 120000) const;
    /// up with the folder; expects success.
    void up(const std::vector<std::string>& extra = {}) const;
    /// The lab's status; null when it does not run.
    [[nodiscard]] nlohmann::json status() const;
    /// stdout of a shell line in a pod.
    [[nodiscard]] std::string in_pod(const std::string& pod, const std::string& line) const;
    /// The answered lines of `weft lab probe -`.
    [[nodiscard]] std::vector<nlohmann::json> probe(const std::vector<nlohmann::json>& lines) const;

private:
    std::string name_;
    std::filesystem::path folder_;
};

/// The lab that tests of several suites use one after the other: where a machine is emulated, coming up takes longer
/// than most of them. Whoever finds none makes one; a test that fails takes it along, and the end of all tests does.
std::unique_ptr<TestLab>& shared_lab();

/// Everything on the machine that carries the lab's name: namespaces, cgroups, pins, files, processes.
std::vector<std::string> traces_of(const std::string& lab);

/// A Deployment `name` in namespace shop whose pods answer HTTP on 8080 with their own name and end gracefully, and a
/// Service of the same name on port 80.
std::string web_manifest(const std::string& name, int replicas);
/// Namespace shop, in the mesh, with nothing but mutual TLS; more documents can follow at once.
inline constexpr const char* kStrictShop = R"(apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {weft.dev/mesh: enabled}}
---
apiVersion: weft.dev/v1alpha1
kind: MeshTLS
metadata: {name: default, namespace: shop}
spec: {mode: strict}
---
)";
/// A pod in namespace shop that does nothing.
std::string idle_pod(const std::string& name);

} // namespace weft::e2e
