import type { App } from './app.ts'
import { bearer } from './http.ts'

export const METRICS_TOKEN = 'mN7pQ2rS9tV4wX6yZ1aB3cD5'

/** One line of the text format of Prometheus. */
interface Sample {
  name: string
  labels: Record<string, string>
  value: number
}

const COMMENT = /^# (HELP [a-zA-Z_:][\w:]* .+|TYPE [a-zA-Z_:][\w:]* (counter|gauge|histogram|summary))$/
const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (-?[\d.]+(?:e[+-]?\d+)?|[+-]Inf|Nan)$/
const LABEL = /(?:^|,)([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"/gy

/** Every value in a text. */
export class Samples {
  readonly list: Sample[]

  /** @throws Error at the first line that is not in the format */
  constructor(text: string) {
    if (!text.endsWith('\n')) throw new Error('the last line has no end')
    this.list = text
      .split('\n')
      .filter((line) => line !== '' && !COMMENT.test(line))
      .map((line) => {
        const [, name = '', labels = '', value = ''] = SAMPLE.exec(line) ?? []
        const pairs = [...labels.matchAll(LABEL)]
        if (!name || pairs.map(([pair]) => pair).join('') !== labels)
          throw new Error(`not in the format: ${line}`)
        return {
          name,
          labels: Object.fromEntries(pairs.map(([, label, text]) => [label, text])),
          value: Number(value.replace('Inf', 'Infinity')),
        }
      })
  }

  get names(): Set<string> {
    return new Set(this.list.map(({ name }) => name))
  }

  /** The sum of those that have these labels. */
  sum(name: string, labels: Record<string, string> = {}): number {
    return this.list
      .filter((sample) => sample.name === name)
      .filter((sample) => Object.entries(labels).every(([label, value]) => sample.labels[label] === value))
      .reduce((sum, { value }) => sum + value, 0)
  }

  /** The values of one label. */
  values(name: string, label: string): Set<string | undefined> {
    return new Set(this.list.filter((sample) => sample.name === name).map(({ labels }) => labels[label]))
  }
}

export const scrape = (app: App, token = METRICS_TOKEN) =>
  app.inject({ url: '/metrics', headers: bearer(token) })

export async function read(app: App): Promise<Samples> {
  return new Samples((await scrape(app)).body)
}
