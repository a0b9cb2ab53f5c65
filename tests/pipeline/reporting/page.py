"""A page of a report as a test reads it."""

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "hr", "input", "wbr"}


class Page(HTMLParser):
    """Reads a page: its tags with attributes, its text, and the cells of its tables, also by id."""

    def __init__(self, html):
        super().__init__()
        self.html, self.tags, self.tables, self.text, self.open = html, [], [], "", []
        self.by_id = {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open += [] if tag in VOID else [tag]
        match tag:
            case "table":
                self.tables.append([])
                self.by_id[dict(attributes).get("id")] = self.tables[-1]
            case "tr":
                self.tables[-1].append([])
            case "th" | "td":
                self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        data = data.replace("\N{NO-BREAK SPACE}", " ")
        self.text += data
        if {"th", "td"} & set(self.open):
            self.tables[-1][-1][-1] += data
