// Bundle the page into the folder that the server serves: node build.mjs FOLDER
import { copyFile, mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const output = process.argv[2] ?? join(here, "..", "static");

await mkdir(output, { recursive: true });
const { metafile } = await build({
  entryPoints: ["src/page.js"],
  absWorkingDir: here,
  outdir: output,
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022"],
  metafile: true,
  legalComments: "none", // the licences stand in licenses.txt
  logLevel: "warning",
});
await copyFile(join(here, "src", "index.html"), join(output, "index.html"));
await writeFile(join(output, "licenses.txt"), await licenses(Object.keys(metafile.inputs)));

/** The licences of the packages that files are of. */
async function licenses(files) {
  const names = new Set(files.map((file) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1]).filter(Boolean));
  const texts = [];
  for (const name of [...names].sort()) {
    const folder = join(here, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).find((found) => /^licen[cs]e/i.test(found));
    const text = file ? await readFile(join(folder, file), "utf8") : await header(join(folder, "clipper.js"));
    texts.push(`${name} ${version} (${license})\n\n${text.trim()}\n`);
  }
  return `This page is part of insight, Apache-2.0. It contains:\n\n${texts.join(`\n${"-".repeat(72)}\n\n`)}`;
}

/** The comments at the beginning of a file, where its licence stands. */
async function header(path) {
  const text = await readFile(path, "utf8");
  return text.slice(0, text.indexOf("(function")).replaceAll(/^\s*[/*]+|\*\/$/gm, "");
}
