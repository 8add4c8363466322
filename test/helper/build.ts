// Before the tests: builds tap with the plugins of .taprc, if it is not since it was installed.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { t } from 'tap'
import { parse } from 'yaml'

const { plugin } = parse(readFileSync('.taprc', 'utf8')) as { plugin: string[] }
const loaded = t.pluginSignature.split('\n')
if (plugin.some((name) => loaded.includes(name.replace(/^!/, '')))) {
  const { status } = spawnSync('tap build', { shell: true, stdio: 'inherit' })
  process.exitCode = status ?? 1
}
