import { Component, type ComponentType } from "preact";

/** Draws again only when a property is another one, as React's memo does; preact/compat would bring much besides. */
export function memo<Props extends object>(Inner: ComponentType<Props>): ComponentType<Props> {
  return class extends Component<Props> {
    override shouldComponentUpdate(next: Readonly<Props>) {
      const names = Object.keys({ ...this.props, ...next }) as (keyof Props)[];
      return names.some((name) => this.props[name] !== next[name]);
    }

    override render() {
      return <Inner {...this.props} />;
    }
  };
}
