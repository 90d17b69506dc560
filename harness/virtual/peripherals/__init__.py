"""The chip's register blocks. Layouts cite RM0385 (F74x), RM0410 (F76x), RM0390 (F446) and ARMv7-M."""
