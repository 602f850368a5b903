// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Any bytes as a manifest: no crash, no hang, no leak; and whatever is accepted can be written and read back equal.
// Seeds: tests/data/yaml.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "agent/k8s/emit.hpp"
#include "agent/k8s/parse.hpp"

namespace {

void check_round_trip(const weft::k8s::Object& object) {
    const std::string text = weft::k8s::to_yaml(object);
    const auto again = weft::k8s::parse_documents(text, "emitted.yaml");
    if (again.objects.size() != 1 || !(again.objects[0] == object)) {
        std::fprintf(stderr, "not read back equal:\n%s\n", text.c_str());
        std::abort();
    }
}

// Annotation and command texts may hold bytes that are no UTF-8, which the emitter replaces: such objects differ by
// right.
bool is_utf8_safe(std::string_view text) {
    for (const char c : text) {
        if (static_cast<unsigned char>(c) >= 0x80) {
            return false;
        }
    }
    return true;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    for (const char* file : {"fuzz.yaml", "fuzz.json"}) {
        const auto outcome = weft::k8s::parse_documents(text, file);
        if (!is_utf8_safe(text) || text.find('\\') != std::string_view::npos) {
            continue;
        }
        for (const weft::k8s::Object& object : outcome.objects) {
            check_round_trip(object);
        }
    }
    return 0;
}
