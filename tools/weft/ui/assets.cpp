// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The assembler puts the files in (.incbin), so that no generator and no tool beyond the compiler is needed; paths are
// relative to the top of the tree, where make runs. The makefile knows that this object depends on them.
#include "tools/weft/ui/assets.hpp"

#include <algorithm>
#include <array>

#define WEFT_EMBED(name, file)                                                                                         \
    __asm__(".section .rodata\n"                                                                                       \
            "weft_ui_" #name ":\n"                                                                                     \
            ".incbin \"tools/weft/ui/static/" file "\"\n"                                                              \
            "weft_ui_" #name "_end:\n"                                                                                 \
            ".byte 0\n"                                                                                                \
            ".previous\n");                                                                                            \
    extern "C" const char weft_ui_##name[] __attribute__((visibility("hidden")));                                      \
    extern "C" const char weft_ui_##name##_end[] __attribute__((visibility("hidden")))

WEFT_EMBED(index, "index.html");
WEFT_EMBED(style, "ui.css");
WEFT_EMBED(icon, "icon.svg");
WEFT_EMBED(main, "main.js");
WEFT_EMBED(api, "api.js");
WEFT_EMBED(layout, "layout.js");
WEFT_EMBED(map, "map.js");
WEFT_EMBED(edges, "edges.js");
WEFT_EMBED(camera, "camera.js");
WEFT_EMBED(details, "details.js");
WEFT_EMBED(format, "format.js");
WEFT_EMBED(dom, "dom.js");

namespace weft::ui {
namespace {

std::string_view between(const char* begin, const char* end) {
    return {begin, static_cast<std::size_t>(end - begin)};
}

} // namespace

const Asset* find_asset(std::string_view path) {
    constexpr std::string_view kHtml = "text/html; charset=utf-8", kCss = "text/css; charset=utf-8",
                               kScript = "text/javascript; charset=utf-8", kSvg = "image/svg+xml";
    static const std::array kAssets{
        Asset{"/", kHtml, between(weft_ui_index, weft_ui_index_end)},
        Asset{"/ui.css", kCss, between(weft_ui_style, weft_ui_style_end)},
        Asset{"/icon.svg", kSvg, between(weft_ui_icon, weft_ui_icon_end)},
        Asset{"/main.js", kScript, between(weft_ui_main, weft_ui_main_end)},
        Asset{"/api.js", kScript, between(weft_ui_api, weft_ui_api_end)},
        Asset{"/layout.js", kScript, between(weft_ui_layout, weft_ui_layout_end)},
        Asset{"/map.js", kScript, between(weft_ui_map, weft_ui_map_end)},
        Asset{"/edges.js", kScript, between(weft_ui_edges, weft_ui_edges_end)},
        Asset{"/camera.js", kScript, between(weft_ui_camera, weft_ui_camera_end)},
        Asset{"/details.js", kScript, between(weft_ui_details, weft_ui_details_end)},
        Asset{"/format.js", kScript, between(weft_ui_format, weft_ui_format_end)},
        Asset{"/dom.js", kScript, between(weft_ui_dom, weft_ui_dom_end)},
    };
    const auto* found = std::ranges::find(kAssets, path, &Asset::path);
    return found == kAssets.end() ? nullptr : found;
}

} // namespace weft::ui
