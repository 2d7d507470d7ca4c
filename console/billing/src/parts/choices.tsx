import type { ComponentChildren } from "preact";
import { Menu } from "./menu";

interface Props<Word extends string> {
  readonly title: string;
  readonly words: readonly Word[];
  readonly chosen: readonly Word[];
  readonly most?: number;
  readonly name: (word: Word) => string;
  /** So many of them. */
  readonly many: (count: number) => string;
  /** What stands beside its box, where that is more than its name. */
  readonly label?: (word: Word) => ComponentChildren;
  readonly change: (chosen: Word[]) => void;
  /** Below the boxes. */
  readonly children?: ComponentChildren;
}

/** A menu of boxes, any of which may be checked. */
export function Choices<Word extends string>(props: Props<Word>) {
  const { title, words, chosen, most = Infinity, name, many, label = name, change, children } = props;

  function toggle(word: Word) {
    const others = chosen.filter((one) => one !== word);
    change(others.length < chosen.length ? others : [...chosen, word]);
  }

  const [first] = chosen;
  const told = first && (chosen.length === 1 ? name(first) : many(chosen.length));
  return (
    <Menu title={title} chosen={told ?? ""}>
      {words.map((word) => (
        <label key={word} class="check">
          <input
            type="checkbox"
            checked={chosen.includes(word)}
            disabled={chosen.length >= most && !chosen.includes(word)}
            onChange={() => toggle(word)}
          />
          {label(word)}
        </label>
      ))}
      {children}
    </Menu>
  );
}
